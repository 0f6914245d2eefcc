#!/usr/bin/env python3
"""Times attention in clattn, PyTorch, ONNX Runtime and OpenVINO on the same data, alternating in
one run, checks that all compute the same, and says how many times as fast clattn is as the best
of the others; gradients, linear projections, layers and additive attention beside PyTorch.
docs/benchmarks.md describes the method and has the figures.

Needs a build of clattn and the virtual environment of bench/setup_peers.sh, which it finds by
itself. Exit status: 0 done, 1 something failed or results differ, 2 wrong usage."""

import argparse
import importlib.util
import json
import os
import pathlib
import sys

import results
import shapes
from runtimes import OPENCL, PEERS, ROOT

# What a runtime reads when it starts; the user's own value wins. PoCL: threads stay on their core,
# and no signal handler; Intel's runtime and OpenMP (PyTorch): the first.
SETTINGS = {
    "clattn": {"POCL_AFFINITY": "1", "POCL_SIGFPE_HANDLER": "0", "SYCL_CPU_CU_AFFINITY": "close",
               "SYCL_CPU_PLACES": "cores"},
    "PyTorch": {"OMP_PROC_BIND": "true"},
}
# Name, module that it needs, subject, and what it computes.
CONTENDERS = [
    ("clattn", "numpy", "contender_clattn:Clattn", shapes.EVERYTHING),
    ("PyTorch", "torch", "contender_torch:Torch", shapes.EVERYTHING),
    ("ONNX Runtime", "onnxruntime", "contender_onnxruntime:OnnxRuntime", {"attention"}),
    ("OpenVINO", "openvino", "contender_openvino:OpenVino", {"attention"}),
]


def parse_shape(text):
    try:
        return shapes.parse(text)
    except shapes.ShapeError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(of_type):
    def parse(text):
        value = of_type(text)
        if not 0 < value < 1e6:
            raise ValueError(text)
        return value
    parse.__name__ = f"positive {of_type.__name__}"
    return parse


def parse_options(words):
    suites, names = [*shapes.SUITES, "all"], [name for name, *_ in CONTENDERS]
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--suite", action="append", choices=suites, help="shapes of a table, repeatable; default "
        "short and prefill, unless --shape is given")
    add("--shape", action="append", type=parse_shape, metavar=shapes.FORM,
        help="a shape, repeatable; causal is 0 or 1, aligned bottom-right")
    add("--contender", action="append", choices=names, help="only these, repeatable")
    add("--device", metavar="SELECTOR", help="clattn's device: see clattn devices")
    add("--opencl", action="append", choices=OPENCL, help="clattn's OpenCL, repeatable: the "
        "system's (default), or Intel's for CPUs from bench/setup_peers.sh --intel-opencl")
    add("--library", default=ROOT / "build/src/libclattn.so", metavar="FILE",
        help="default build/src/libclattn.so")
    add("--threads", type=positive(int), default=len(os.sched_getaffinity(0)), metavar="N",
        help="of each peer; default: as many as there are cores")
    add("--rounds", type=positive(int), default=7, metavar="N",
        help="turns of each contender on each shape; default 7")
    add("--slice", type=positive(float), default=0.1, metavar="SECONDS",
        help="how long a turn is, but at least one call; default 0.1")
    add("--clock", choices=("wall", "cpu"), default="wall",
        help="cpu: processor time of all threads divided by their number, for a machine that has "
        "other work, where threads of the peers then don't spin while they wait; default wall")
    add("--json", action="store_true",
        help="print a line of JSON for each shape and contender, and nothing else")
    add("--from", dest="files", action="append", metavar="FILE",
        help="measure nothing: take what --json has printed, repeatable")
    add("--table", metavar="FILE.md", help="write tables in Markdown; a file that has marks for "
        "them keeps what is outside")
    add("--plot", metavar="FILE.png", help="draw a picture")
    options = parser.parse_args(words)
    if options.device and "intel" in (options.opencl or []) and len(options.opencl) > 1:
        parser.error("--device: which OpenCL's? Give one --opencl with it")
    for name in ("table", "plot"):  # not after an hour of measuring
        path = getattr(options, name)
        if path and not os.access(pathlib.Path(path).absolute().parent, os.W_OK):
            parser.error(f"--{name}: no file can be made in the folder of {path}")
    return options


def chosen_shapes(options):
    """(suite, shape), each once."""
    suites = options.suite or ([] if options.shape else ["short", "prefill"])
    if "all" in suites:
        suites = list(shapes.SUITES)
    made = {(shape.operation, shape): suite for suite in suites for shape in shapes.SUITES[suite]}
    for shape in options.shape or []:
        made.setdefault((shape.operation, shape), shapes.suite_of(shape))
    return [(suite, shape) for (_, shape), suite in made.items()]


def use_environment_of_peers():
    """Goes on in the virtual environment, unless this is one that has what is needed."""
    python = PEERS / "bin/python"
    if importlib.util.find_spec("numpy") and importlib.util.find_spec("torch"):
        return
    if pathlib.Path(sys.prefix).resolve() != PEERS.resolve() and python.exists():
        os.execv(python, [str(python), *sys.argv])


def start(options, chosen):
    """A process for each contender that has one of the operations."""
    from turns import Contender
    needed = {shape.operation for _, shape in chosen}
    wanted, started = options.contender or [name for name, *_ in CONTENDERS], []
    for name, module, subject, operations in CONTENDERS:
        if name not in wanted or not needed & operations:
            continue
        if not importlib.util.find_spec(module):
            raise ImportError(f"{name} needs Python's package {module}; --contender chooses others")
        settings = {**SETTINGS.get(name, {}), **os.environ}
        if name != "clattn":
            settings["OMP_NUM_THREADS"] = str(options.threads)
            if options.clock == "cpu":
                settings.setdefault("OMP_WAIT_POLICY", "passive")
            started.append(Contender(name, subject, {"threads": options.threads}, settings,
                                     operations))
            continue
        given = {"library": str(options.library), "device": options.device,
                 "header": str(ROOT / "include/clattn/layer.h")}
        for opencl in options.opencl or ["system"]:
            label = name if opencl == "system" else f"{name}, {opencl}"
            started.append(Contender(label, subject, given, {**settings, **OPENCL[opencl]}))
    if not started:
        raise ValueError(f"none of {', '.join(wanted)} has what is to be compared")
    return started


def print_rows(rows, options, names):
    if options.json:
        for row in rows:
            print(json.dumps(row), flush=True)
        return
    contenders, own = names
    print(results.text_line(rows, contenders, own), flush=True)


def compare(options):
    """Measures and prints; returns all rows, and whether all went well."""
    from measure import Comparison
    chosen = chosen_shapes(options)
    contenders = start(options, chosen)
    comparison = Comparison(contenders, options)
    names = [one.name for one in contenders]
    own = [name for name in names if not comparison.about[name]["peer"]]
    if not options.json:
        for name in names:
            print(f"{name}: {comparison.about[name]['description']}")
    found, form = [], None
    for rows in comparison.run(chosen):
        found += rows
        if not rows:
            continue
        if not options.json and results.shape_of(rows[0]).form != form:
            form = results.shape_of(rows[0]).form
            print(f"\n{results.text_head(form, names, own)}")
        print_rows(rows, options, (names, own))
    for contender in contenders:
        contender.close()
    return found, not comparison.failed


def load_rows(files):
    rows = []
    for name in files:
        with open(name, encoding="utf-8") as stream:
            rows += [json.loads(line) for line in stream]
    return rows


def write_whole(path, content):
    """The file appears whole or not at all."""
    path = pathlib.Path(path)
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(content)
    beside.replace(path)


def write_outputs(rows, options):
    if options.table:
        path = pathlib.Path(options.table)
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        write_whole(path, results.replace_between_marks(text, rows).encode())
    if options.plot:
        import plot
        drawn = [row for row in rows if results.section_of(row) == "attention"]
        if not drawn:
            raise ValueError("--plot: there is no attention to draw")
        write_whole(options.plot, plot.draw(drawn))


def main():
    options = parse_options(sys.argv[1:])
    try:
        if options.plot:
            importlib.import_module("plot")
        if options.files:
            rows, good = load_rows(options.files), True
        else:
            rows, good = compare(options)
        write_outputs(rows, options)
    except KeyboardInterrupt:
        sys.exit("\ncompare: interrupted")
    except ImportError as error:
        sys.exit(f"compare: {error}: bench/setup_peers.sh installs what is needed")
    except KeyError as error:
        sys.exit(f"compare: --from: a row has no {error}")
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"compare: {error}")
    if not options.json:
        print(f"\n{results.disturbance(rows)}")
        for suite, name, summary in results.summaries(rows):
            print(f"{suite}, {name}: {summary}")
    return 0 if good else 1


if __name__ == "__main__":
    use_environment_of_peers()
    sys.exit(main())

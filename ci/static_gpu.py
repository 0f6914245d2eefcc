#!/usr/bin/env python3
"""What compilers for GPUs make of the kernels, without a GPU: see ci/static_gpu.sh.

static_gpu.py [--update] [--only TARGET]... [--kernel NAME]...
static_gpu.py --self-test checks how it compares.

Every kernel that a device with lanes runs is compiled for every target of gpu_targets.py, in every
configuration that can occur, as check_kernels.py knows them. Each must compile, keep to the goals
of its family, and be no worse than its row of ci/static_gpu.tsv, which --update writes anew.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections import namedtuple

import check_kernels
import gpu_targets
from gpu_targets import Figures, NONE, Refused

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = ROOT / "ci/static_gpu.tsv"

# files: stems of the .cl files, as a pattern; macros: what a device with lanes gives those that
# have no table of their own; goals: the most spills and bytes of scratch, and the least occupancy
# in percent, None where the table alone decides. A new family of kernels is a row.
Family = namedtuple("Family", "name files macros spills scratch occupancy")
FAMILIES = [
    Family("reference",
           r"\w+_reference|gradient_rows|gradient_sink|additive_rows|linear_sums|merge",
           {"VEC": 1, "WG_SIZE": 64}, None, None, None),
    Family("tile", r"\w+_tile", {"VEC": 4, "STORAGE": 0}, 0, None, None),
    Family("rows", r"append|rotary|shift|copy_present", {"VEC": 1, "WG_SIZE": 64}, 0, 0, None),
    Family("pack", r"linear_pack|additive_sums|gradient_bias_sums",
           {"VEC": 4, "WG_SIZE": 64}, 0, None, None),
    Family("merge", r"merge_splits", {"VEC": 4}, None, None, None),
    Family("measure", r"empty|fma_peak|read_bandwidth",
           {"VEC": 4, "WG_SIZE": 64, "CHAINS": 8}, 0, 0, 50),
]
# Stems of the kernels that devices with lanes never run: those of plans for CPUs.
FOR_CPUS = re.compile(r"\w+_simd|pack_keys|pack_values|top_k_values|gradient_parts|"
                      r"additive_pack_keys|additive_pack_queries")

# ---- what is compiled ---------------------------------------------------------------------------

# A kernel in one configuration: the file's text with all that it includes is in `text`.
Row = namedtuple("Row", "family kernel macros text")


def flatten(sources, name, seen):
    """The text of a file with each that it includes in its place, once, as the library does."""
    if name in seen:
        return ""
    seen.add(name)
    lines = sources[name].path.read_text(encoding="utf-8").split("\n")
    include = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
    return "\n".join(flatten(sources, match.group(1), seen) if match else line
                     for line in lines for match in [include.match(line)])


def callers_forms(macros):
    """Of the caller's functions none or all, without vectors: a work-item has no vectors."""
    flags = [bool(macros.get(name)) for name in check_kernels.CALLERS if name != "CALLERS_VECTORS"]
    return not macros.get("CALLERS_VECTORS") and len(set(flags)) == 1


def configurations(combinations, family, words):
    """The sets of macros of one file that a device with lanes compiles."""
    usual = [macros for macros in combinations
             if not any(macros.get(name) for name in check_kernels.FOR_DEVICES)]
    for combination in [macros for macros in usual if macros] or [{}]:
        macros = {name: int(value) for name, value in combination.items()}
        if not callers_forms(macros) or any(macros.get(name, value) != value
                                            for name, value in family.macros.items()):
            continue
        macros.update(family.macros)
        yield {name: value for name, value in sorted(macros.items())
               if name in words and name != "CALLERS_VECTORS"}


def text_of(sources, name, macros):
    """What the compiler gets: macros, the caller's functions, the file."""
    seen = set()
    text = "".join(f"#define {macro} {value}\n" for macro, value in macros.items())
    if any(macros.get(caller) for caller in check_kernels.CALLERS):
        text += flatten(sources, "common/vector.h", seen)
        text += check_kernels.CALLERS_TEXT.split("\n", 1)[1]
    return text + flatten(sources, name, seen)


def preprocessed(text):
    """Macros that nothing of the file asks for make no other kernel."""
    words = [gpu_targets.CLANG, *gpu_targets.LANGUAGE, "-target", "spir64", "-E", "-P", "-"]
    return subprocess.run(words, input=text, text=True, check=True, capture_output=True).stdout


def rows_of(root, pool):
    sources = check_kernels.read_sources(root)
    combinations = {}
    for program in check_kernels.programs_of(root, sources):
        for name in program.files:
            combinations.setdefault(name, []).extend(
                {**program.constants, **macros} if macros else {}
                for macros in program.combinations)
    rows = []
    for name in sorted(combinations):
        kernel = pathlib.Path(name).stem
        family = next((f for f in FAMILIES if re.fullmatch(f.files, kernel)), None)
        if family:
            words = set().union(*(s.words for s in check_kernels.closure(sources, [name])))
            for macros in configurations(combinations[name], family, words):
                label = " ".join(f"{macro}={value}" for macro, value in macros.items())
                rows.append(Row(family, kernel, label, text_of(sources, name, macros)))
    distinct = {}
    for row, text in zip(rows, pool.map(lambda row: preprocessed(row.text), rows)):
        distinct.setdefault((row.kernel, text), row)
    return [*distinct.values()]


# ---- comparing ----------------------------------------------------------------------------------

def read_table(text):
    """{(target, kernel, macros): Figures}"""
    lines = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    return {tuple(line[:3]): Figures(*map(int, line[3:])) for line in lines}


def table_text(found):
    head = "# Made by ci/static_gpu.sh --update; see docs/gpu.md.\n# target\tkernel\tmacros\t"
    lines = ["\t".join([*key, *map(str, figures)]) for key, figures in sorted(found.items())]
    return head + "\t".join(Figures._fields) + "\n" + "\n".join(lines) + "\n"


def complaints(family, figures, before):
    """What is wrong with figures, by the family's goals and the row of the table."""
    if family.spills is not None and figures.spills > family.spills:
        yield f"{figures.spills} spills, the goal is {family.spills}"
    if family.scratch is not None and figures.scratch > family.scratch:
        yield f"{figures.scratch} bytes of scratch, the goal is {family.scratch}"
    if family.occupancy is not None and 0 < figures.occupancy < family.occupancy:
        yield f"occupancy {figures.occupancy} %, the goal is {family.occupancy}"
    if before is None:
        yield "no row in ci/static_gpu.tsv: run ci/static_gpu.sh --update"
        return
    for name in ("spills", "scratch", "local"):
        if getattr(figures, name) > getattr(before, name):
            yield f"{name} {getattr(figures, name)}, was {getattr(before, name)}"
    for name in ("occupancy", "width"):
        if getattr(figures, name) < getattr(before, name):
            yield f"{name} {getattr(figures, name)}, was {getattr(before, name)}"


def unknown(stems, rows):
    """Kernels that no row is of, and that aren't for CPUs alone."""
    return sorted({*stems} - {row.kernel for row in rows} -
                  {stem for stem in stems if FOR_CPUS.fullmatch(stem)})


def self_test(rows):
    stems = [path.stem for path in (ROOT / "cl").rglob("*.cl")]
    family = FAMILIES[0]
    strict = Family("strict", "x", {}, 0, 0, 50)
    good = Figures(32, 40, 0, 16, 0, 100)
    small = Figures(32, 1, 0, 0, 0, 49)
    checks = {
        "the same figures are good": not [*complaints(family, good, good)],
        "more registers alone are good": not [*complaints(family, good._replace(registers=99),
                                                          good)],
        "less is good": not [*complaints(family, good._replace(scratch=0), good)],
        "spills are seen": [*complaints(family, good._replace(spills=1), good)],
        "scratch is seen": [*complaints(family, good._replace(scratch=17), good)],
        "occupancy is seen": [*complaints(family, good._replace(occupancy=99), good)],
        "a row without a past is seen": [*complaints(family, good, None)],
        "a goal of scratch is seen": [*complaints(strict, good, good)],
        "a goal of occupancy is seen": [*complaints(strict, small, small)],
        "narrower threads are seen": [*complaints(family, good._replace(width=16), good)],
        "a table comes back": read_table(table_text({("a", "b", "C=1"): good})) ==
                              {("a", "b", "C=1"): good},
        # NVIDIA's own occupancy calculator: 64 work-items of 168 registers on sm_80 are 6 groups
        "occupancy of sm_80": gpu_targets.nvidia_occupancy("sm_80", 168, 0, 64) == 18,
        "occupancy without a limit": gpu_targets.nvidia_occupancy("sm_75", 32, 0, 64) == 100,
        "kernels are found": len(rows) > 20 and len(rows) == len({row[1:3] for row in rows}),
        "every kernel is compiled": not unknown(stems, rows),
        "one that is not is seen": unknown([*stems, "new"], rows) == ["new"],
        "a device's quirk is no configuration": [*configurations(
            [{}, {"NO_PREFETCH": 1}], family, {"VEC"})] == [{"VEC": 1}],
    }
    wrong = [name for name, holds in checks.items() if not holds]
    for name in wrong:
        print(f"static_gpu: self-test failed: {name}")
    return 1 if wrong else 0


# ---- running ------------------------------------------------------------------------------------

def group_of(row):
    """The work-items of a group, as the text says after its macros."""
    found = re.search(r"reqd_work_group_size\s*\(\s*(\d+)", preprocessed(row.text))
    return int(found.group(1)) if found else 1


def compile_row(target, row):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "kernel.cl").write_text(row.text, encoding="utf-8")
        try:
            return target.compile(folder, row.kernel, group_of(row))
        except Refused as why:
            return why


def missing(target):
    return [tool for tool in target.tools if not gpu_targets.find_tool(tool)]


def report(target, row, figures):
    print(f"{target.name:8} {row.kernel:32} {row.macros:40} "
          + "".join(f"{name} {value:<6}" for name, value in figures._asdict().items()))


def run_target(target, rows, before, pool, found):
    """Passed and failed of one target; `before` is None where there is to be a new table."""
    lacks = missing(target)
    if lacks:
        print(f"{target.name}: FAILED: {', '.join(lacks)} is missing")
        return 0, len(rows)
    failed = 0
    for row, figures in zip(rows, pool.map(lambda row: compile_row(target, row), rows)):
        if isinstance(figures, Refused):
            wrong = [str(figures)]
        else:
            found[target.name, row.kernel, row.macros] = figures
            if figures != NONE:
                report(target, row, figures)
            past = figures if before is None else before.get((target.name, row.kernel, row.macros))
            wrong = [*complaints(row.family, figures, past)]
        for complaint in wrong:
            print(f"{target.name}: {row.kernel} {row.macros}: FAILED: {complaint}")
        failed += bool(wrong)
    return len(rows) - failed, failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--kernel", action="append", default=[])
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = rows_of(ROOT, pool)
    if options.self_test:
        return self_test(rows)
    before = read_table(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    rows = [row for row in rows if not options.kernel or row.kernel in options.kernel]
    targets = [t for t in gpu_targets.TARGETS if not options.only or t.name in options.only]
    passed = failed = 0
    found = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for target in targets:
            good, bad = run_target(target, rows, None if options.update else before, pool, found)
            passed += good
            failed += bad
    part = options.only or options.kernel or options.update
    gone = [] if part else sorted(set(before) - set(found))
    for key in gone:
        print(f"{' '.join(key)}: FAILED: in ci/static_gpu.tsv, but was not compiled")
    if options.update:
        kept = before if options.only or options.kernel else {}
        TABLE.write_text(table_text({**kept, **found}), encoding="utf-8")
    print(f"{passed} passed, {failed + len(gone)} failed")
    return 1 if failed + len(gone) else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""training_test.py PROGRAM STEPS: an example of training learns within STEPS steps, says the same
whenever it is run, and has gradients that finite differences confirm; its files are what the
heat-map wants, and a wrong command line, or a machine without OpenCL, is one line on stderr."""

import json
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "ci"))
import npy  # noqa: E402

USAGE = (["--steps"], ["--steps", "0"], ["--steps", "1x"], ["--seed", "-1"], ["--learn", "1"],
         ["--optimiser", "magic"], ["--steps", ""], ["--steps", "99999999999999999999"])


def run(program, *options, **environment):
    return subprocess.run([program, *options], capture_output=True, text=True, timeout=240,
                          env={**os.environ, **environment})


def check_learning(program, steps, folder):
    one, two = (run(program, "--steps", steps, "--out", folder) for _ in range(2))
    if one.returncode != 0:
        yield f"exit {one.returncode}: {one.stderr}"
    if (one.stdout, one.returncode) != (two.stdout, two.returncode):
        yield f"a second run differs:\n{one.stdout}\nand\n{two.stdout}{two.stderr}"
    losses = [float(found) for found in re.findall(r"^step .* loss (\S+)$", one.stdout, re.M)]
    if len(losses) < 2 or not 0 <= losses[-1] < losses[0] / 3:
        yield f"the loss doesn't fall to a third: {losses}"
    if not re.search(r"^exact match \d{1,3}\.\d %$", one.stdout, re.M):
        yield f"no line with the exact match in\n{one.stdout}"
    yield from check_maps(one.stdout, pathlib.Path(folder))


def check_pictures(folder):
    """Rows of weights are distributions over what the columns' labels name."""
    files = sorted(folder.glob("*.npy"))
    after = [path for path in files if path.stem.startswith("after")]
    if not files or 2 * len(after) != len(files):
        yield f"no pictures before and after in {[path.name for path in files]}"
    for path in files:
        shape, values = npy.read(path)
        number = path.stem.partition("-")[2]
        columns = folder / ("columns" + ("-" + number if number else "") + ".json")
        labels = [json.loads(name.read_text()) for name in (folder / "rows.json", columns)]
        if [len(one) for one in labels] != list(shape[1:]):
            yield f"{path.name}: {shape}, but labels {labels}"
        width = shape[2]
        for row in range(shape[0] * shape[1]):
            weights = values[row * width : (row + 1) * width]
            if min(weights) < 0 or abs(sum(weights) - 1) > 1e-5:
                yield f"{path.name}: row {row}: {weights}"


def maps_of(stdout):
    """The maps of characters by "before" and "after": (columns' labels, rows of (label, cells))."""
    found = {}
    for part in re.split(r"^Weights ", stdout, flags=re.M)[1:]:
        lines = part.partition("\n\n")[0].split("\n")
        rows = [(line[0], line[3:-1].split("|")) for line in lines[2:]]
        found[part.split()[0]] = (lines[1], rows)
    return found


def check_maps(stdout, folder):
    """What is printed is what the files have, in shades by the root of each weight."""
    maps = maps_of(stdout)
    if sorted(maps) != ["after", "before"] or max(map(len, stdout.split("\n"))) > 80:
        yield f"maps {sorted(maps)}, or lines of more than 80 characters, in\n{stdout}"
    for when, (columns, rows) in maps.items():
        path = next(p for p in (folder / f"{when}.npy", folder / f"{when}-5.npy") if p.exists())
        name = path.stem.replace(when, "columns")
        shape, values = npy.read(path)
        labels = "".join(json.loads((folder / f"{name}.json").read_text()))
        shades = [" .:-=+*#%@"[int(9 * math.sqrt(value) + 0.5)] for value in values]
        wanted = [(label, ["".join(shades[(head * shape[1] + row) * shape[2] :][: shape[2]])
                           for head in range(shape[0])])
                  for row, label in enumerate(json.loads((folder / "rows.json").read_text()))]
        if columns != "   " + shape[0] * (labels + " ") or rows != wanted:
            yield f"the map {when} is\n{columns}\n{rows}\nnot\n{labels}\n{wanted}"
    if maps.get("before") == maps.get("after"):
        yield "training doesn't change the map"


def check_gradients(program):
    done = run(program, "--steps", "20", "--check", "--seed", "3")
    if sorted(maps_of(done.stdout)) != ["after", "before"]:
        yield f"no maps without --out:\n{done.stdout}"
    rows = done.stdout.count("finite difference")
    if done.returncode != 0 or rows < 10:
        yield f"--check: exit {done.returncode}, {rows} rows\n{done.stdout}{done.stderr}"


def check_usage(program, folder):
    for options in USAGE:
        done = run(program, *options)
        if done.returncode != 2 or done.stderr.count("\n") != 1 or options[0] not in done.stderr:
            yield f"{options}: exit {done.returncode}: {done.stderr}"
    if "--optimiser" not in run(program, "--help").stdout:
        yield "--help doesn't name the options"
    file, missing = str(folder / "rows.json"), "/nonexistent/libOpenCL.so"
    for done, named in ((run(program, "--steps", "1", "--out", file), file),
                        (run(program, CLATTN_OPENCL_LIBRARY=missing), missing)):
        if done.returncode != 1 or done.stderr.count("\n") != 1 or named not in done.stderr:
            yield f"{named}: exit {done.returncode}: {done.stderr}"


def main():
    program, steps = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name) / "pictures"
        wrong = [*check_learning(program, steps, str(folder)), *check_pictures(folder),
                 *check_gradients(program), *check_usage(program, folder)]
    print("\n".join(wrong) if wrong else f"{program}: learns, with the right gradients")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Checks the shape of the source tree; see docs/architecture.md for the rooms.

  - a room of src/ includes only itself and the rooms it may know;
  - OpenCL's headers are included only by src/opencl, src/api/interop.c and clattn/opencl.h;
  - kernels include only cl/common;
  - file stems name one thing: unique among the rooms of src/;
  - files have at most 500 lines, functions 60 lines and 6 parameters.

check_rooms.py [ROOT] checks a tree, check_rooms.py --self-test checks the checker.
"""

import collections
import pathlib
import re
import sys
import tempfile

BELOW_DISPATCH = ["base", "problem", "schedule", "opencl", "kernels", "plan"]
MAY_KNOW = {
    "base": ["base"],
    "problem": ["base", "problem"],
    "schedule": ["base", "problem", "schedule"],
    "opencl": ["base", "opencl"],
    "kernels": ["base", "problem", "schedule", "opencl", "kernels"],
    "plan": BELOW_DISPATCH,
    "dispatch": BELOW_DISPATCH + ["dispatch"],
    "layer": BELOW_DISPATCH + ["dispatch", "layer"],
    "api": BELOW_DISPATCH + ["dispatch", "layer", "api"],
    "tool": ["tool"],
}
# Structs that host and kernels share: cl/common, for the rooms that fill them.
SHARE_WITH_KERNELS = ["schedule", "kernels", "plan", "dispatch"]
CL_FILES = re.compile(r"^(src/opencl/|src/api/interop\.c$|include/clattn/opencl\.h$)")
PUBLIC = {f"clattn/{name}.h" for name in ("attention", "clattn", "context", "kv_cache", "layer",
                                         "operations", "status", "submit")}

FILE_LINES, FUNCTION_LINES, PARAMETERS = 500, 60, 6
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')
SIGNATURE = re.compile(r"([A-Za-z_]\w*)\s*\(")


def includes(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1), match.group(2)


def check_include(name, quote, target):
    """The complaint about one include of the file `name` (path below the root), or None."""
    folder, _, rest = target.partition("/")
    if folder == "CL" and not CL_FILES.match(name) and name.startswith(("src/", "include/")):
        return "OpenCL's headers belong to src/opencl"
    if name.startswith("cl/"):
        host_side = name.startswith("cl/common/") and quote == "<"
        good = host_side or target.startswith("common/")
        return None if good else "kernels include only common/"
    if not name.startswith("src/"):
        return None
    room = name.split("/")[1]
    if target == "clattn/opencl.h":
        good = name == "src/api/interop.c" or room == "tool"
        return None if good else "clattn/opencl.h belongs to src/api/interop.c"
    if folder == "clattn":
        return None if target in PUBLIC else "no public header"
    if quote == "<":
        return None
    if folder == "common":
        return None if room in SHARE_WITH_KERNELS else f"src/{room} may not know cl/common"
    if room == "tool" and (not rest or target.startswith("tests/oracle/")):
        return None
    return None if folder in MAY_KNOW.get(room, []) else f"src/{room} may not know {folder}"


def check_includes(root):
    for top in ("src", "include", "cl"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix in (".c", ".h", ".cl"):
                name = path.relative_to(root).as_posix()
                for number, quote, target in includes(path):
                    complaint = check_include(name, quote, target)
                    if complaint:
                        yield f"{name}:{number}: includes {target}: {complaint}"


def check_stems(root):
    folders = collections.defaultdict(set)
    for path in (root / "src").rglob("*.[ch]"):
        folders[path.stem].add(path.parent.name)
    for stem, rooms in sorted(folders.items()):
        if len(rooms) > 1:
            yield f"src: the stem {stem} is used in several rooms: {', '.join(sorted(rooms))}"


def parameters(signature):
    """How many parameters the outermost parentheses of a signature hold."""
    depth = commas = 0
    for char in signature[signature.index("(") :]:
        depth += {"(": 1, ")": -1}.get(char, 0)
        commas += char == "," and depth == 1
    return commas + 1


def check_functions(name, lines):
    """Functions end at a brace in the first column and begin at one (the house style)."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            first = start - 1
            while first > 1 and lines[first - 2].strip() and lines[first - 2][-1] not in ";}/":
                first -= 1
            signature = " ".join(lines[first - 1 : start - 1])
            match = SIGNATURE.search(signature)
            function = match.group(1) if match else "?"
            if number - first + 1 > FUNCTION_LINES:
                yield f"{name}:{first}: {function} has {number - first + 1} lines"
            # Kernels, and functions in the place of OpenCL's, have the parameters that they need.
            free = name.startswith("cl/") or name.endswith(".cl") or "CL_API_CALL" in signature
            if match and parameters(signature) > PARAMETERS and not free:
                yield f"{name}:{first}: {function} has {parameters(signature)} parameters"
            start = None


def check_sizes(root):
    for top in ("src", "include", "cl", "tests", "examples", "bench"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix not in (".c", ".h", ".cl"):
                continue
            name = path.relative_to(root).as_posix()
            lines = path.read_text(encoding="utf-8").splitlines()
            if len(lines) > FILE_LINES:
                yield f"{name}: {len(lines)} lines, at most {FILE_LINES}"
            yield from check_functions(name, lines)


def check(root):
    return [*check_includes(root), *check_stems(root), *check_sizes(root)]


# Files that must each raise one complaint, and files that must raise none.
LONG = "int f(int a)\n{\n" + "    a++;\n" * 60 + "    return a;\n}\n"
WIDE = "int f(int a, int b, int c, int d, int e, int g, int h)\n{\n    return a;\n}\n"
BAD = {
    "src/base/a.c": '#include "opencl/device.h"\n',
    "src/problem/b.c": '#include "schedule/work_list.h"\n',
    "src/opencl/c.c": '#include "plan/plan.h"\n',
    "src/plan/d.c": "#include <CL/cl.h>\n",
    "src/kernels/e.h": '#include "dispatch/event.h"\n',
    "src/dispatch/f.c": "#include <clattn/opencl.h>\n",
    "src/tool/g.c": '#include "base/text.h"\n',
    "cl/attention/h.cl": '#include "attention/other.cl"\n',
    "include/clattn/i.h": "#include <CL/cl.h>\n",
    "src/base/j.c": "\n" * 501,
    "include/clattn/s.h": "\n" * 501,
    "src/base/k.c": LONG,
    "src/base/l.c": WIDE,
}
GOOD = {
    "tests/fault/r.c": WIDE.replace("int f", "int CL_API_CALL f"),
    "src/base/m.c": '#include <stdio.h>\n#include "base/text.h"\n#include <clattn/clattn.h>\n',
    "src/opencl/n.c": '#include <CL/cl.h>\n#include "base/text.h"\n',
    "src/api/interop.c": "#include <CL/cl.h>\n#include <clattn/opencl.h>\n",
    "src/plan/o.c": '#include "kernels/registry.h"\n#include "common/arguments.h"\n',
    "cl/attention/p.cl": '#include "common/softmax.h"\n',
}


def complaints_about(files):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        return check(root)


def self_test():
    wrong = [name for name, text in BAD.items() if len(complaints_about({name: text})) != 1]
    wrong += complaints_about(GOOD)
    if len(complaints_about({"src/base/q.c": "\n", "src/plan/q.c": "\n"})) != 1:
        wrong.append("a stem used twice")
    for name in wrong:
        print(f"check_rooms: self-test failed: {name}")
    return 1 if wrong else 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    default = pathlib.Path(__file__).resolve().parent.parent
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    found = check(root)
    print("\n".join(found) if found else "rooms, stems and sizes: as they should be")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

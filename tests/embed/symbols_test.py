#!/usr/bin/env python3
"""symbols_test.py LIBRARY.so SYMBOLS.txt INCLUDE_FOLDER: the library exports exactly the symbols
of the list, each declared in a public header, and needs the C library's parts alone."""

import pathlib
import re
import subprocess
import sys

ALLOWED_NEEDED = re.compile(r"^(libc|libm|libpthread|libdl|ld-linux[\w-]*|librt)\.so")


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def exported(library):
    lines = output("nm", "-D", "--defined-only", library).splitlines()
    return {line.split()[-1].split("@")[0] for line in lines}


def needed(library):
    return re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "-d", library))


def main():
    library, list_path, include = sys.argv[1:]
    listed = set(pathlib.Path(list_path).read_text(encoding="utf-8").split())
    headers = "".join(
        path.read_text(encoding="utf-8") for path in pathlib.Path(include).rglob("*.h")
    )
    declared = set(re.findall(r"CLATTN_API[^;]*?\b(clattn_\w+)\(", headers))
    found = exported(library)
    wrong = [f"exported, but not in {list_path}: {name}" for name in sorted(found - listed)]
    wrong += [f"in {list_path}, but not exported: {name}" for name in sorted(listed - found)]
    wrong += [f"exported, but in no public header: {name}" for name in sorted(found - declared)]
    wrong += [f"declared, but not exported: {name}" for name in sorted(declared - found)]
    wrong += [f"no public name: {name}" for name in sorted(found) if not name.startswith("clattn_")]
    wrong += [f"needs {name}" for name in needed(library) if not ALLOWED_NEEDED.match(name)]
    print("\n".join(wrong) if wrong else f"{len(found)} symbols, as listed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Compiles every kernel with clang, in every combination of macros that can occur.

  - the files of a kernel of src/kernels together, as they are built, with each row of the tables of
    its .c file and all values of the other macros that it sets;
  - every other .cl file with all values of the macros that it has defaults for;
  - every branch of an #if in cl/ has to be compiled by one of these, but for #error;
  - every #error has to stop the compiler for a value out of range of each macro that it names;
  - a macro in an #if of cl/ that has no row in MACROS below is a failure.

check_kernels.py [ROOT] checks a tree, check_kernels.py --self-test checks the checker.
"""

import concurrent.futures
import functools
import itertools
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import namedtuple

# values: those that occur, where no table of src/kernels says it; wrong: out of range, by itself or
# together with others.
Row = namedtuple("Row", "values wrong")
MACROS = {
    "VEC": Row((1, 4, 8, 16), (0, 3, 32)),
    "ROWS": Row((6,), (5, 7)),
    "COLS": Row((2, 4), (0, 3, {"COLS": 1, "BLOCK_N": 512})),
    "VALUE_COLS": Row((2, 4), (0,)),
    "BLOCK_M": Row((24, 48, 96), (0, 47)),
    "BLOCK_N": Row((64, 256), (0, 100, 1 << 20)),
    "DIM_MAX": Row((64, 128, 256, 576), (0, 100, 577)),
    "BLOCK_K": Row((160,), (100, 6)),
    "FULL": Row((0, 1), (2,)),
    "STREAMS": Row((1, 4), (0, 2)),
    "STAGES": Row((1, 2), (0, 3)),
    "STORAGE": Row((0, 1, 2, 6, 7), (3, 8, -1)),
    "SCALE_CHANNELS": Row((0, 32), (16,)),
    "WG_SIZE": Row((1, 64), (0, -1)),
    "CHAINS": Row((4, 8, 12, 16), (3, 33)),
    "SCORE_FUNCTION": Row((0, 1), ()),
    "MASK_FUNCTION": Row((0, 1), ()),
    "SCORE_GRADIENT": Row((0, 1), ()),
    "NO_PREFETCH": Row((0, 1), ()),  # see FOR_DEVICES
    # defined by the caller's text, see CALLERS_TEXT
    "CLATTN_SCORE_VECTOR": Row((), ()),
    "CLATTN_SCORE_GRADIENT_VECTOR": Row((), ()),
    "CLATTN_VISIBLE_VECTOR": Row((), ()),
    "CLATTN_VISIBLE_TILE": Row((), ()),
}

# What src/opencl defines for devices with a quirk; compiled once a program.
FOR_DEVICES = ("NO_PREFETCH",)

# The caller's functions, in front of the files; with CALLERS_VECTORS in all their forms.
CALLERS = ("SCORE_FUNCTION", "MASK_FUNCTION", "SCORE_GRADIENT", "CALLERS_VECTORS")
CALLERS_TEXT = """#include "common/vector.h"
typedef __global const float *numbers;
#if SCORE_FUNCTION
float clattn_user_score(float s, int b, int h, int q, int k, numbers p)
{
    return s + p[b] + h + q - k;
}
#if CALLERS_VECTORS
#define CLATTN_SCORE_VECTOR
vfloat clattn_user_score_vector(vfloat s, int b, int h, int q, vint k, numbers p)
{
    return s + p[b] + convert_vfloat(h + q - k);
}
#endif
#endif
#if SCORE_GRADIENT
float clattn_user_score_gradient(float s, int b, int h, int q, int k, numbers p)
{
    return s * p[b] + h + q - k;
}
#if CALLERS_VECTORS
#define CLATTN_SCORE_GRADIENT_VECTOR
vfloat clattn_user_score_gradient_vector(vfloat s, int b, int h, int q, vint k, numbers p)
{
    return s * p[b] + convert_vfloat(h + q - k);
}
#endif
#endif
#if MASK_FUNCTION
int clattn_user_visible(int b, int h, int q, int k, numbers p)
{
    return p[b + h] < q - k;
}
#if CALLERS_VECTORS
#define CLATTN_VISIBLE_VECTOR
#define CLATTN_VISIBLE_TILE
vint clattn_user_visible_vector(int b, int h, int q, vint k, numbers p)
{
    return k < (vint)(q + b + h + (int)p[0]);
}
int clattn_user_visible_tile(int b, int h, int q, int q_end, int k, int k_end, numbers p)
{
    return q_end + k_end > p[b + h] + q + k;
}
#endif
#endif
"""

CLANG = ["clang", "-x", "cl", "-cl-std=CL1.2", "-D__OPENCL_VERSION__=120", "-target", "spir64",
         "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-unused-function"]
CHECK = ["-Xclang", "-finclude-default-header", "-fsyntax-only"]

DIRECTIVE = re.compile(r"^[ \t]*#[ \t]*(if|ifdef|ifndef|elif|else|endif|error|define)\b(.*)$")
NAME = re.compile(r"[A-Za-z_]\w*")
MARK = "CLATTN_BRANCH_"
BATCH = 32  # combinations that are compiled together


# ---- what is there ------------------------------------------------------------------------------

def directives(path):
    """(line number, keyword, rest) of each; continued lines are joined, comments left out."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S)
    text = re.sub(r"//[^\n]*", "", text)
    number, lines = 0, text.split("\n")
    while number < len(lines):
        first, line = number, lines[number]
        while line.endswith("\\") and number + 1 < len(lines):
            number += 1
            line = line[:-1] + lines[number]
        number += 1
        match = DIRECTIVE.match(line)
        if match:
            yield first + 1, match.group(1), match.group(2).strip()


class Source:
    """A file of cl/: what it includes, and the macros that decide what of it is compiled."""

    def __init__(self, root, path):
        self.path, self.name = path, path.relative_to(root).as_posix()
        text = path.read_text(encoding="utf-8")
        self.words = set(NAME.findall(text))
        self.includes = re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, flags=re.M)
        found = list(directives(path))
        defined = {NAME.match(rest).group() for _, word, rest in found if word == "define"}
        asked = {rest for _, word, rest in found if word == "ifndef"}
        guard = {name for name in asked if re.fullmatch(r"CLATTN_\w+_H", name)}
        self.defaults = (asked & defined) - guard
        self.own = defined - self.defaults - guard  # made of others, or none of the caller's
        self.branches, self.errors, self.decided_by = {}, {}, {}
        for at, (line, word, rest) in enumerate(found):
            if word in ("if", "ifdef", "ifndef", "elif", "else"):
                is_error = at + 1 < len(found) and found[at + 1][1] == "error"
                if not is_error:
                    self.branches[line] = f"#{word} {rest}".strip()
            if word == "error":
                self.errors[line] = rest.strip('"')
            if word in ("if", "ifdef", "ifndef", "elif"):
                for name in set(NAME.findall(rest)) - guard - {"defined"}:
                    if not name.startswith("__"):
                        self.decided_by.setdefault(name, line)


def read_sources(root):
    folder = root / "cl"
    paths = sorted(p for p in folder.rglob("*") if p.suffix in (".cl", ".h"))
    return {source.name: source for source in (Source(folder, path) for path in paths)}


def closure(sources, names):
    """The files with everything that they include."""
    seen, left = {}, list(names)
    while left:
        name = left.pop()
        if name not in seen and name in sources:
            seen[name] = sources[name]
            left += sources[name].includes
    return seen.values()


# ---- the combinations ---------------------------------------------------------------------------

def macro_of_field(root):
    """{"vec": "VEC", ...} from the table of src/kernels/macros.c."""
    path = root / "src/kernels/macros.c"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return {field: name for name, field in re.findall(r'\{"(\w+)",\s*offsetof\(\w+, (\w+)\)', text)}


def tables_in(text, macro_of):
    """The tables of .c files that have columns of the configuration: lists of {macro: value}. What
    a row is is written with the table, or has a name."""
    named = dict(re.findall(r"typedef struct (\w+) \{(.*?)\} \1;", text, flags=re.S))
    pattern = r"static const (?:struct \{(.*?)\}|(\w+))\s*\w+\[\]\s*=\s*\{(.*?)\};"
    for fields, name, body in re.findall(pattern, text, flags=re.S):
        columns = [column for line in re.findall(r"uint32_t ([\w, ]+);", named.get(name, fields))
                   for column in line.split(", ")]
        rows = [[int(n) for n in row.split(",")] for row in re.findall(r"\{([\d, ]+)\}", body)]
        table = [{macro_of[c]: v for c, v in zip(columns, row) if c in macro_of} for row in rows]
        if table and table[0]:
            yield table


# A program: the files that are compiled as one, what is defined in any case, and the sets of macros
# that are defined besides; the first set is empty, so that every default is compiled.
Program = namedtuple("Program", "name files constants combinations")


def product(tables, names):
    """All tables' rows with all values of the names that no table has."""
    in_tables = {name for table in tables for name in table[0]}
    rest = [[{name: value} for value in MACROS[name].values] for name in names
            if name in MACROS and name not in in_tables]
    yield {}
    for parts in itertools.product(*tables, *rest):
        yield {name: value for part in parts for name, value in part.items()}


def with_callers_functions(tables, names):
    """Every form of the caller's functions with every width of vectors."""
    widths = [table for table in tables if "VEC" in table[0]]
    options = {name: MACROS[name].values[-1] for name in names if name == "FULL"}
    for flags in itertools.product((0, 1), repeat=len(CALLERS)):
        for row in product(widths, []):
            yield {**options, **row, **dict(zip(CALLERS, flags))}


def with_parts(path, taken=None):
    """The text of a .c file, and of the parts of src/kernels that it and they include."""
    taken = set() if taken is None else taken
    text = path.read_text(encoding="utf-8")
    for stem in re.findall(r'"kernels/(\w+)\.h"', text):
        part = path.with_name(f"{stem}.c")
        if stem not in taken and part.exists() and part != path:
            taken.add(stem)
            text += part.with_suffix(".h").read_text(encoding="utf-8") + with_parts(part, taken)
    return text


def kernel_program(path, files, sources, macro_of):
    text = with_parts(path)
    words = set().union(*(source.words for source in closure(sources, files)))
    settings = [(macro_of[field], value) for field, value in
                re.findall(r"config->(\w+) = ([^;]+);", text) if macro_of.get(field) in words]
    constants = {name: value for name, value in settings if value.isdigit()}
    names = [name for name, value in dict(settings).items()
             if name not in constants and name not in CALLERS]
    tables = list(tables_in(text, macro_of))
    combinations = [*product(tables, names)]
    if words.intersection(CALLERS):
        combinations += with_callers_functions(tables, names)
    combinations += [{name: 1} for name in FOR_DEVICES if name in words]
    return Program(path.stem, files, constants, combinations)


def programs_of(root, sources):
    macro_of, programs, taken = macro_of_field(root), [], set()
    for path in sorted((root / "src/kernels").glob("*.c")):
        named = re.findall(r'"(\w+/\w+\.cl)"', path.read_text(encoding="utf-8"))
        files = [name for name in dict.fromkeys(named) if name in sources]
        if files:
            program = kernel_program(path, files, sources, macro_of)
            programs.append(program)
            programs += [Program(name, [name], program.constants, [{}]) for name in files]
            taken.update(files)
    for name, source in sources.items():
        if name.endswith(".cl") and name not in taken:
            names = sorted(set().union(*(s.defaults for s in closure(sources, [name]))))
            programs.append(Program(name, [name], {}, [*product([], names)]))
    return programs


# ---- compiling ----------------------------------------------------------------------------------

def text_of(program, macros):
    text = CALLERS_TEXT if any(macros.get(name) for name in CALLERS) else ""
    return text + "".join(f'#include "{name}"\n' for name in program.files)


def run_clang(folder, program, macros, options):
    definitions = [f"-D{name}={value}" for name, value in {**program.constants, **macros}.items()]
    return subprocess.run([*CLANG, *options, "-I", str(folder), *definitions, "-"],
                          input=text_of(program, macros), capture_output=True, text=True,
                          check=False)


def instrument(sources, folder):
    """A copy of cl/ that says for each branch, at its beginning, that it is compiled."""
    for name, source in sources.items():
        lines = source.path.read_text(encoding="utf-8").split("\n")
        for place in sorted(source.branches, reverse=True):
            line = place
            while lines[line - 1].endswith("\\"):
                line += 1
            lines.insert(line, f'#pragma message "{MARK}{name}:{place}"')
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(lines), encoding="utf-8")


def branches_in(text):
    return {(name, int(line)) for name, line in re.findall(MARK + r"([\w/.]+):(\d+)", text)}


def run_together(folder, jobs):
    """Whether all compile, and the branches that do, in one process: starting clang takes longer
    than compiling a kernel. Without the driver, which would start a process for each."""
    with tempfile.TemporaryDirectory() as name:
        paths = [os.path.join(name, f"{number}.cl") for number in range(len(jobs))]
        for path, (program, macros) in zip(paths, jobs):
            values = {**program.constants, **macros}
            text = "".join(f"#define {macro} {value}\n" for macro, value in values.items())
            pathlib.Path(path).write_text(text + text_of(program, macros), encoding="utf-8")
        run = subprocess.run([*together(), "-I", str(folder), *paths], capture_output=True,
                             text=True, check=False)
    return run.returncode == 0, branches_in(run.stderr)


@functools.lru_cache(maxsize=None)
def together():
    """The command for that: the one that the driver would run, without its input."""
    driver = [*CLANG, *CHECK, "-Wno-error=#pragma-messages", "-fno-caret-diagnostics", "-###", "-"]
    run = subprocess.run(driver, input="", capture_output=True, text=True, check=True)
    return shlex.split(run.stderr.splitlines()[-1])[:-1]


def describe(program, macros):
    return " ".join([program.name, *(f"{name}={value}" for name, value in macros.items())])


# ---- the checks ---------------------------------------------------------------------------------

def check_rows(sources):
    own = set().union(*(source.own for source in sources.values()))
    for source in sources.values():
        for name, line in sorted(source.decided_by.items()):
            if name not in MACROS and name not in own:
                yield f"cl/{source.name}:{line}: {name} has no row in MACROS of check_kernels.py"


def check_programs(root, sources, programs, pool):
    jobs = [(program, macros) for program in programs for macros in program.combinations]
    batches = [jobs[at:at + BATCH] for at in range(0, len(jobs), BATCH)]
    live = set()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        instrument(sources, folder)
        results = pool.map(lambda batch: run_together(folder, batch), batches)
        for batch, (good, branches) in zip(batches, results):
            live |= branches
            if not good:
                yield from check_alone(root, folder, batch, live, pool)
    for source in sources.values():
        for line, text in source.branches.items():
            # what is for the host is compiled there
            if (source.name, line) not in live and not for_host(source, line):
                yield f"cl/{source.name}:{line}: never compiled: {text}"


def check_alone(root, folder, jobs, live, pool):
    """Which of the jobs fails, and why; adds the branches of all."""
    results = [*pool.map(lambda job: run_clang(root / "cl", *job, CHECK), jobs)]
    for preprocessed in pool.map(lambda job: run_clang(folder, *job, ["-E", "-P"]), jobs):
        live |= branches_in(preprocessed.stdout)
    for (program, macros), result in zip(jobs, results):
        if result.returncode != 0:
            lines = [line for line in result.stderr.splitlines() if ": error: " in line]
            yield f"{describe(program, macros)}: {lines[0] if lines else result.stderr.strip()}"
    if all(result.returncode == 0 for result in results):
        yield f"{describe(*jobs[0])} and others: don't compile in one process, but alone"


def for_host(source, line):
    """Whether this is the #else of an #if about __OPENCL_VERSION__."""
    before = [text for number, text in source.branches.items() if number < line]
    return source.branches[line] == "#else" and before and "__OPENCL_" in before[-1]


def check_guards(root, sources, programs, pool):
    """Each (#error, macro that it names) needs a wrong value that gets there."""
    missing = {(source.name, line, macro) for source in sources.values()
               for line, text in source.errors.items() for macro in NAME.findall(text)
               if macro in MACROS}
    jobs = [(program, value if isinstance(value, dict) else {macro: value}) for program in programs
            for macro, row in MACROS.items() for value in row.wrong
            if any(macro in source.defaults for source in closure(sources, program.files))]
    results = pool.map(lambda job: run_clang(root / "cl", *job, CHECK), jobs)
    for (_, macros), result in zip(jobs, results):
        for path, line in re.findall(r"^(\S+?):(\d+):\d+: error: ", result.stderr, flags=re.M):
            name = os.path.relpath(path, root / "cl")
            missing.discard((name, int(line), next(iter(macros))))
    for name, line, macro in sorted(missing):
        yield f"cl/{name}:{line}: no wrong value of {macro} gets to this #error"


def check(root):
    sources = read_sources(root)
    programs = programs_of(root, sources)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [*check_rows(sources), *check_programs(root, sources, programs, pool),
                 *check_guards(root, sources, programs, pool)]
    return found, sum(len(program.combinations) for program in programs)


# ---- the self-test ------------------------------------------------------------------------------

GUARDED = """#ifndef VEC
#define VEC 4
#endif
#if VEC != 1 && VEC != 4 && VEC != 8 && VEC != 16
#error "VEC must be 1, 4, 8 or 16"
#endif
"""
KERNEL = "__kernel void x(__global float *y)\n{\n    y[0] = VEC;\n}\n"
GOOD = GUARDED + KERNEL
BAD = {
    "a macro without a row": GOOD + "#ifdef SURPRISE\n#endif\n",
    "a branch that nothing reaches": GOOD + "#if VEC == 5\nint z(void);\n#endif\n",
    "a mistake in one branch": GOOD + "#if VEC == 16\nint z(\n#endif\n",
    "a warning": GOOD + "static int z(void)\n{\n    int unused;\n    return VEC;\n}\n",
    "a guard that lets everything pass": GOOD.replace("#if VEC != 1 ", "#if VEC == 77 "),
    "a guard that stops what occurs": GOOD.replace(" && VEC != 16", ""),
}


def complaints_about(text):
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        (root / "cl/measure").mkdir(parents=True)
        (root / "cl/measure/x.cl").write_text(text, encoding="utf-8")
        return check(root)[0]


TABLE = """static const struct {
    uint32_t vec, unused;
} rows[] = {{4, 1}, {8, 2}};
"""
NAMED_TABLE = """typedef struct row {
    uint32_t vec, unused;
} row;
static const row rows[] = {{4, 1}, {8, 2}};
"""


def self_test():
    wrong = [name for name, text in BAD.items() if not complaints_about(text)]
    wrong += complaints_about(GOOD)
    wrong += [f"a table that is not found: {text}" for text in (TABLE, NAMED_TABLE)
              if [*tables_in(text, {"vec": "VEC"})] != [[{"VEC": 4}, {"VEC": 8}]]]
    for name in wrong:
        print(f"check_kernels: self-test failed: {name}")
    return 1 if wrong else 0


def main():
    if not shutil.which(CLANG[0]):
        sys.exit("check_kernels: clang is missing")
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    default = pathlib.Path(__file__).resolve().parent.parent
    found, count = check(pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else default)
    print("\n".join(found) if found else f"kernels: {count} combinations of macros compile")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

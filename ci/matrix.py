#!/usr/bin/env python3
"""The tests on every implementation of OpenCL that can be had: see ci/matrix.sh.

matrix.py --home FOLDER [--quick] [--only IMPLEMENTATION]... [--family FAMILY]... [--suite SUITE]...
          [--test NAME]... [--list]
matrix.py --self-test checks how it counts.

Prints a table, writes build/matrix.json (a list of objects `implementation, family, suite, passed,
failed, skipped`), and ends with "N passed, M failed". The exit status is 0 only if M is 0. FOLDER
is where ci/matrix.sh has put what isn't the system's.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time
from collections import Counter, namedtuple

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
CASES = ROOT / "tests/data/conformance"
MUST_PASS = ROOT / "tests/conformance/must_pass.txt"
LIMITED = BUILD / "tests/limits/limited_opencl.so"
SYNTHESIS = re.compile(r"Tested: \D*(\d+)\D* \| Passing: \D*(\d+)\D* \| Failing:")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")

# ---- what is tested -----------------------------------------------------------------------------

# where: "" is this system, else the script in ci/ that runs programs in another one. lanes: the
# device says that it is a GPU, or that its vectors are of one float.
Implementation = namedtuple("Implementation", "name suites where environment lanes what",
                            defaults=("", {}, False, ""))
POCL_13 = {"OCL_ICD_VENDORS": "/etc/OpenCL/vendors/pocl.icd"}
INTEL = {"OCL_ICD_VENDORS": "{home}/intel/vendors", "LD_LIBRARY_PATH": "{home}/intel/lib"}
SMALL = {"CLATTN_OPENCL_LIBRARY": str(LIMITED), "CLATTN_LIMIT_LOCAL_MEMORY": "16384",
         "CLATTN_LIMIT_WORK_GROUP": "64", "CLATTN_LIMIT_ALLOCATION": "67108864",
         "CLATTN_LIMIT_HIDDEN": "cl_khr_fp64:cl_khr_fp16:cl_khr_subgroups:cl_intel_subgroups"}
# Oclgrind loses track of what the host writes behind a buffer's first byte (it takes it for never
# written): with a largest buffer below the size of an arena each tensor is a buffer of its own. It
# doesn't know an intrinsic that inlining leaves behind, nor the instruction `freeze`, which LLVM
# makes of the simd kernels: they run on every other implementation, and not here.
OCLGRIND = {"OCL_ICD_VENDORS": "{home}/oclgrind.icd", "OCLGRIND_BUILD_OPTIONS": "-fno-inline",
            "OCLGRIND_DATA_RACES": "1", "OCLGRIND_UNINITIALIZED": "1",
            "OCLGRIND_LOG": "{log}.oclgrind", "CLATTN_OPENCL_LIBRARY": str(LIMITED),
            "CLATTN_LIMIT_ALLOCATION": "8388608",
            "CLATTN_TEST_NO_PAGES": "1"}
# Of what is looked at for races.
LEFT_OUT = {"top_k in pages is left out: Oclgrind ends at LLVM's instruction freeze": 1}
# Outputs for which Oclgrind ends, within itself, where it follows uninitialised values through
# tiles (weights_tile; gradient_bias_tile, too). They are looked at for all else.
BLIND = ("weights.npy", "qk_matmul_output.npy")

IMPLEMENTATIONS = [
    Implementation("pocl", ("conformance", "device", "onnx"), what="the system's PoCL"),
    Implementation("pocl-cbs", ("conformance", "device"),
                   environment={"POCL_WORK_GROUP_METHOD": "cbs"}),
    Implementation("pocl-loopvec", ("conformance", "device-few"),
                   environment={"POCL_WORK_GROUP_METHOD": "loopvec"}),
    Implementation("pocl-small", ("conformance", "device"), environment=SMALL,
                   what="local memory 16 KiB, work-groups of 64, no fp64"),
    Implementation("pocl-6", ("conformance", "device"), "debian13", POCL_13, what="of Debian 13"),
    Implementation("intel", ("conformance", "device"), environment=INTEL, what="of PyPI"),
    Implementation("intel-small", ("conformance", "device-few"), environment={**INTEL, **SMALL},
                   what="and no sub-groups, no fp16"),
    Implementation("rusticl", ("conformance", "device-few"), "debian13",
                   {"OCL_ICD_VENDORS": "/etc/OpenCL/vendors/rusticl.icd",
                    "RUSTICL_ENABLE": "llvmpipe"}, True, "Mesa's, on llvmpipe, Debian 13"),
    Implementation("oclgrind", ("races",), environment=OCLGRIND, lanes=True,
                   what="races, out-of-bounds, uninitialised, divergence"),
]

# What fits into two or three minutes: (implementation, suite).
QUICK = (("pocl-small", "conformance"), ("oclgrind", "races-few"))

# Device tests for what is slow.
FEW = ("kernels", "layouts", "decode", "pages", "rotary", "top_k", "events", "one_call")

# Cases that Oclgrind gets through in time: paths below tests/data/conformance.
RACES_FEW = ("onnx/3d_gqa_attn_mask", "onnx/3d_diff_heads_sizes_causal", "torch/top_k/hard",
             "onnx/4d_with_qk_matmul_softmax", "torch/attention/single_token")
RACES = (*RACES_FEW, "onnx", "torch/top_k", "torch/attention/key_length_zero",
         "torch/attention/boolean_mask_empty_row", "torch/ragged/causal_empty_sequence")

# ---- running ------------------------------------------------------------------------------------

Result = namedtuple("Result", "passed failed skipped reasons")


def kernels():
    """{family: names}, from the registry: a family is the last part of a kernel's name."""
    run = subprocess.run([BUILD / "tests/conformance", "--kernels"], capture_output=True, text=True,
                         check=True)
    families = {}
    for name in run.stdout.split():
        families.setdefault(name.rpartition("_")[2], []).append(name)
    return families


def claims(implementation, family):
    """So that the device is one for this family."""
    claim = {"tile": {"CLATTN_CLAIM_TYPE": "gpu"}}
    if implementation.lanes:
        claim["simd"] = {"CLATTN_CLAIM_TYPE": "cpu", "CLATTN_CLAIM_VECTOR": "4"}
    found = claim.get(family, {})
    return {"CLATTN_OPENCL_LIBRARY": str(LIMITED), **found} if found else {}


class Runner:
    def __init__(self, implementation, family, suite, home):
        self.implementation, self.family, self.suite = implementation, family, suite
        folder = BUILD / "matrix"
        self.log = folder / f"{implementation.name}-{family}-{suite}.log"
        cache = folder / "cache" / implementation.name
        # PoCL makes no folder above its own.
        (cache / "driver").mkdir(parents=True, exist_ok=True)
        self.log.write_text("", encoding="utf-8")
        found = {"POCL_CACHE_DIR": str(cache / "driver"), "CLATTN_CACHE_DIR": str(cache),
                 "POCL_SIGFPE_HANDLER": "0", **implementation.environment,
                 **claims(implementation, family)}
        self.environment = {name: value.format(home=home, log=self.log)
                            for name, value in found.items()}
        self.environment["CLATTN_MATRIX"] = str(home)  # ci/debian13.sh looks there, too
        self.system = implementation.where

    def command(self, words):
        words = [str(word) for word in words]
        return [str(ROOT / "ci" / f"{self.system}.sh"), *words] if self.system else words

    def run(self, words, extra=None, limit=900):
        """The exit status and what was printed."""
        environment = {**os.environ, **self.environment, **(extra or {})}
        try:
            run = subprocess.run(self.command(words), env=environment, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, errors="replace",
                                 cwd=ROOT, timeout=limit, check=False)
            status, text = run.returncode, COLOUR.sub("", run.stdout)
        except subprocess.TimeoutExpired as late:
            status, text = 124, (late.stdout or b"").decode(errors="replace") + "timed out\n"
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(map(str, words))}\n{text}\n")
        return status, text

    def complaints(self):
        """What Oclgrind has found, by kind."""
        path = pathlib.Path(f"{self.log}.oclgrind")
        if "OCLGRIND_LOG" not in self.environment or not path.exists():
            return Counter()
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return Counter(re.sub(r"0x[0-9a-f]+", "", line).strip() for line in lines
                       if line[:1].strip() and line[0].isupper())


def last_line(text):
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:120] if lines else "printed nothing"


# ---- suites -------------------------------------------------------------------------------------

def conformance(runner, names, *more, extra=None):
    kernel = ["--kernel", ",".join(names)] if names else []
    status, text = runner.run([BUILD / "tests/conformance", *kernel, *more], extra)
    return conformance_result(status, text, "--must-pass" in more)


def conformance_result(status, text, must_pass):
    """Cases. With must_pass those fail that lack a pair of the list, and others are left out."""
    totals = re.findall(r"^(\d+) passed, (\d+) failed$", text, flags=re.M)
    if not totals:
        return Result(0, 1, 0, Counter({f"status {status}: {last_line(text)}": 1}))
    passed, others = map(int, totals[-1])
    missing = set(re.findall(r"^MUST PASS.*: (.*):.*$", text, flags=re.M))
    declined = sum(map(int, re.findall(r"^(\d+) declined by", text, flags=re.M)))
    failed = len(missing) if must_pass else others - declined
    # Without the list the runner exits with 1 for declined cases, too.
    if failed == 0 and (status != 0 if must_pass else status not in (0, 1)):
        failed = 1
    reasons = Counter()
    if declined:
        reasons["the family declines them"] = declined
    if others - declined - failed > 0:
        reasons["not in must_pass.txt"] = others - declined - failed
    for line in re.findall(r"^FAIL (.*)$", text, flags=re.M):
        if failed and (not must_pass or line.split(":")[0] in missing):
            reasons[f"failed: {line[:100]}"] += 1
    for case in sorted(missing):
        if f"FAIL {case}:" not in text:
            reasons[f"failed: {case}: didn't run"] += 1
    return Result(passed, failed, max(others - failed, 0), reasons)


def all_cases(runner, names):
    return conformance(runner, names, "--must-pass", MUST_PASS, CASES)


def races(runner, names, paths=RACES):
    found = {path: sorted((CASES / path).rglob("case.json")) for path in paths}
    absent = [path for path in paths if not found[path]]
    if absent:
        return Result(0, len(absent), 0, Counter({f"failed: no case in {absent}": 1}))
    cases = [case.parent for path in paths for case in found[path]]
    blind = [case for case in cases if runner.family == "tile" and
             any((case / name).exists() for name in BLIND)]
    total = Result(0, 0, 0, Counter(LEFT_OUT))
    for part, extra in (([case for case in cases if case not in blind], None),
                        (blind, {"OCLGRIND_UNINITIALIZED": "0"})):
        if not part:
            continue
        result = conformance(runner, names, *part, extra=extra)
        complaints = runner.complaints()
        total = Result(total.passed + result.passed,
                       total.failed + result.failed + sum(complaints.values()),
                       total.skipped + result.skipped,
                       total.reasons + result.reasons + complaints)
    if blind:
        total.reasons[f"{len(blind)} not for uninitialised values, where Oclgrind ends"] = 1
    return total


def races_few(runner, names):
    return races(runner, names, RACES_FEW)


def test_list():
    run = subprocess.run(["meson", "introspect", "--tests", BUILD], capture_output=True, text=True,
                         check=True)
    return [test for test in json.loads(run.stdout) if any("device" in s for s in test["suite"])]


def device(runner, _, few=None):
    passed, failed, skipped, reasons = 0, 0, 0, Counter()
    for test in test_list():
        name = test["name"].replace("device ", "")
        if device.only and name not in device.only:
            continue
        if few and name not in few:
            skipped += 1
            reasons["left out where it is slow"] += 1
            continue
        status, text = runner.run(test["cmd"], test["env"], min(5 * test["timeout"], 1800))
        good, bad, reason = count(status, text)
        passed, failed = passed + good, failed + bad
        if bad:
            reasons[f"failed: {test['name']}: {reason}"] += bad
    return Result(passed, failed, skipped, reasons)


def count(status, text):
    """Passed, failed, and the first reason, of a program of Criterion's or any other."""
    found = SYNTHESIS.search(text)
    reason = next((line for line in text.splitlines() if re.match(r"\[(FAIL|----)\]", line)
                   and ("FAIL" in line or ":" in line)), last_line(text))[:140]
    if not found:
        return (1, 0, "") if status == 0 else (0, 1, reason)
    tested, passing = map(int, found.groups())
    bad = max(tested - passing, 1 if status != 0 or tested == 0 else 0)
    return passing, bad, reason


def device_few(runner, names):
    return device(runner, names, FEW)


def onnx(runner, names):
    kernel = ["--kernel", ",".join(names)] if names else []
    script = ROOT / "tests/conformance/onnx_backend.py"
    words = [BUILD / "venv/bin/python", script, BUILD / "src/libclattn.so", "--count", onnx.count,
             "--seed", onnx.seed, *kernel]
    status, text = runner.run(words, limit=3600)
    totals = re.findall(r"^(\d+) passed, (\d+) failed$", text, flags=re.M)
    declined = sum(map(int, re.findall(r"^(\d+) declined by", text, flags=re.M)))
    if not totals or (status != 0 and totals[-1][1] == "0"):
        return Result(0, 1, 0, Counter({f"status {status}: {last_line(text)}": 1}))
    reasons = Counter({"the family declines them": declined} if declined else {})
    reasons.update(f"failed: {line[:100]}" for line in re.findall(r"^FAIL (.*)$", text, flags=re.M))
    return Result(int(totals[-1][0]), int(totals[-1][1]), declined, reasons)


SUITES = {"conformance": all_cases, "device": device, "device-few": device_few, "onnx": onnx,
          "races": races, "races-few": races_few}


def rows(options, families):
    """(implementation, family, suite) of everything to be run."""
    by_name = {one.name: one for one in IMPLEMENTATIONS}
    pairs = QUICK if options.quick else [(one.name, suite) for one in IMPLEMENTATIONS
                                         for suite in one.suites]
    for name, suite in pairs:
        if (options.only and name not in options.only) or (
                options.suite and suite not in options.suite):
            continue
        for family in families:
            if options.family and family not in options.family:
                continue
            if suite.startswith("races") and family == "simd":
                continue
            # Device tests go through all kernels that take the device: reference is among them.
            if suite.startswith("device") and family == "reference" and len(families) > 1:
                continue
            yield by_name[name], family, suite
        if suite == "conformance" and (not options.family or "any" in options.family):
            yield by_name[name], "any", suite


def print_table(results):
    head = ("implementation", "family", "suite", "passed", "failed", "skipped", "seconds")
    lines = [head] + [tuple(map(str, row[:7])) for row in results]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for line, row in zip(lines, [None, *results]):
        print("  ".join(text.ljust(width) if i < 3 else text.rjust(width)
                        for i, (text, width) in enumerate(zip(line, widths))))
        for reason, times in (row[7] if row else Counter()).most_common(8):
            print(f"    {times} times: {reason}")


# What the runner of the cases prints, its status, with a list or without: passed, failed, skipped.
SELF_TEST = [
    ("7 passed, 0 failed\n", 0, True, (7, 0, 0)),
    ("FAIL a/b: out: wrong\nFAIL a/bc: out: wrong\nFAIL d: out: odd\n"
     "MUST PASS, but does not: a/b:out\n"
     "MUST PASS, but does not: a/bc:out\n4 passed, 3 failed\n", 1, True, (4, 2, 1)),
    ("FAIL a: out: declined\n1 declined by simd\n6 passed, 1 failed\n", 0, True, (6, 0, 1)),
    ("FAIL a: out: declined\n1 declined by simd\n6 passed, 1 failed\n", 1, False, (6, 0, 1)),
    ("FAIL a: out: wrong\nFAIL b: out: wrong\n5 passed, 2 failed\n", 1, False, (5, 2, 0)),
    ("MUST PASS, but does not: a:out\n7 passed, 0 failed\n", 1, True, (7, 1, 0)),
    ("7 passed, 0 failed\n", -11, False, (7, 1, 0)),
    ("7 passed, 0 failed\n", 1, True, (7, 1, 0)),
    ("Segmentation fault\n", -11, True, (0, 1, 0)),
]


def self_test():
    wrong = 0
    for text, status, must_pass, expected in SELF_TEST:
        result = conformance_result(status, text, must_pass)
        named = sum(times for reason, times in result.reasons.items()
                    if reason.startswith("failed: "))
        if result[:3] != expected or ("MUST" in text and named != expected[1]):
            print(f"matrix: self-test failed: {text!r}: {result}")
            wrong += 1
    return 1 if wrong else 0


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [one.name for one in IMPLEMENTATIONS]
    parser.add_argument("--home", default="")
    parser.add_argument("--quick", action="store_true",
                        help="only what fits into two or three minutes")
    parser.add_argument("--only", action="append", choices=names, metavar="IMPLEMENTATION")
    parser.add_argument("--family", action="append", metavar="FAMILY",
                        help="the last part of a kernel's name, or any: no family is forced")
    parser.add_argument("--suite", action="append", choices=SUITES, metavar="SUITE")
    parser.add_argument("--test", action="append", metavar="NAME",
                        help="of the device tests these programs alone")
    parser.add_argument("--list", action="store_true", help="names of what would run")
    parser.add_argument("--count", default="600", help="random combinations of ONNX' attributes")
    parser.add_argument("--seed", default="1")
    options = parser.parse_args()
    onnx.count, onnx.seed, device.only = options.count, options.seed, options.test
    return options


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    options = parse()
    if options.list:
        # The registry isn't known before the build: which systems are needed doesn't depend on it.
        options.family = None
        pairs = {(one.name, suite) for one, _, suite in rows(options, ["any"])}
        print("\n".join(f"{name} {suite}" for name, suite in sorted(pairs)))
        return 0
    results = []
    families = kernels()
    unknown = set(options.family or ()) - {*families, "any"}
    if unknown:
        sys.exit(f"matrix: no such family: {', '.join(sorted(unknown))}; there are any, "
                 f"{', '.join(sorted(families))}")
    if options.quick:  # a program of gradients in tiles takes PoCL 20 s and more
        families["tile"][families["tile"].index("gradient_tile")] = "gradient_reference"
    for implementation, family, suite in rows(options, families):
        print(f"{implementation.name}, {family}, {suite} ...", flush=True)
        start = time.monotonic()
        runner = Runner(implementation, family, suite, options.home)
        result = SUITES[suite](runner, families.get(family))
        results.append((implementation.name, family, suite, *result[:3],
                        int(time.monotonic() - start), result.reasons))
    print()
    print_table(results)
    keys = ("implementation", "family", "suite", "passed", "failed", "skipped")
    text = json.dumps([dict(zip(keys, row)) for row in results], indent=1)
    (BUILD / "matrix.json").write_text(text + "\n", encoding="utf-8")
    passed, failed = sum(row[3] for row in results), sum(row[4] for row in results)
    print(f"\n{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())

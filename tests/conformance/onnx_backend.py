#!/usr/bin/env python3
"""onnx_backend.py LIBCLATTN: ONNX' operator Attention, computed by a built libclattn.so.

Runs the operator's own node tests, as the onnx package generates them, and compares random
combinations of its inputs and attributes with ONNX' reference evaluator. Needs the packages onnx
and numpy: ci/matrix.sh makes a virtual environment with them. The last line is "N passed, M
failed"; exit status 1 if M is not 0. With --kernel, problems that this kernel declines are counted
apart."""

import argparse
import collections
import pathlib
import sys
import warnings

import ml_dtypes
import numpy as np
import onnx
from onnx.backend.test.case.node import collect_testcases

from onnx_operator import Attention
from onnx_random import Combination, difference, expected

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(1, str(ROOT / "bench"))  # where the binding is

from clattn import Declined, Failed, Library
from clattn_header import Header

HEADER = ROOT / "include/clattn/clattn.h"
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
# Of the package's own test runner for float32 and bfloat16; its float16 results are summed in
# float16, clattn's in float32.
TOLERANCES = {np.dtype(np.float16): (3e-3, 1e-3), BFLOAT16: (2.0**-6, 1e-7)}


class Counter:
    def __init__(self):
        self.passed, self.failed, self.declined = 0, 0, collections.Counter()

    def run(self, name, function, kernel):
        """function returns None, or what is wrong."""
        try:
            wrong = function()
        except Declined as reason:
            if kernel:
                self.declined[str(reason)] += 1
                return
            wrong = f"declined: {reason}"
        except Failed as reason:
            wrong = str(reason)
        if wrong:
            self.failed += 1
            print(f"FAIL {name}: {wrong}", flush=True)
        else:
            self.passed += 1


def present(values):
    return [value for value in values if value]


def node_tests():
    """Name, attributes, inputs, wanted outputs and expected arrays of every test that is a single
    Attention node. Those called _expanded are the same tests on the operator written as a graph of
    other operators."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # generating the other operators' tests warns
        cases = collect_testcases("Attention")
    for case in cases:
        nodes = case.model.graph.node
        if [node.op_type for node in nodes] != ["Attention"]:
            continue
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in nodes[0].attribute}
        for inputs, outputs in case.data_sets:
            yield (case, attributes, dict(zip(present(nodes[0].input), inputs)),
                   present(nodes[0].output), outputs)


def compare_node_test(case, wanted, got, outputs):
    for name, array, right in zip(wanted, got, outputs):
        if (array.dtype, array.shape) != (right.dtype, right.shape):
            return f"{name} is {array.dtype}{array.shape}, not {right.dtype}{right.shape}"
        rtol, atol = TOLERANCES.get(right.dtype, (case.rtol, case.atol))
        try:
            np.testing.assert_allclose(array.astype(np.float64), right.astype(np.float64),
                                       rtol=rtol, atol=atol)
        except AssertionError as error:
            return f"{name}: {' '.join(str(error).split())}"
    return None


def run_node_tests(library, counter):
    for case, attributes, inputs, wanted, outputs in node_tests():
        def run():
            got = Attention(attributes, inputs).run(library, wanted)
            return compare_node_test(case, wanted, got, outputs)
        counter.run(case.name, run, library.kernel)


def run_combination(library, seed, index, counter):
    combination = Combination(seed, index)

    def run():
        got = Attention(combination.attributes, combination.given).run(library, combination.wanted)
        for name, array, right in zip(combination.wanted, got, expected(combination)):
            wrong = difference(combination, name, array, right)
            if wrong:
                return wrong
        return None
    counter.run(f"random {index} of seed {seed} ({combination})", run, library.kernel)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library", help="path of libclattn.so")
    parser.add_argument("--header", default=HEADER, help="path of clattn.h")
    parser.add_argument("--cc", default="cc", help="C compiler that confirms the structs")
    parser.add_argument("--kernel", help="use only this kernel of the registry")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=600, help="random combinations")
    parser.add_argument("--only", type=int, help="this random combination and nothing else")
    return parser.parse_args()


def report(counter, library):
    if counter.declined:
        print(f"{sum(counter.declined.values())} declined by {library.kernel}:")
    for reason, count in counter.declined.most_common():
        print(f"  {count} times: {reason}")
    print(f"{counter.passed} passed, {counter.failed} failed")


def main():
    options = parse()
    header = Header(options.header)
    claims = header.check(options.cc)
    library = Library(options.library, header, options.kernel)
    counter = Counter()
    print(f"onnx {onnx.__version__}, clattn {library.calls.clattn_version_string().decode()} on "
          f"{library.device()}, {claims} facts of clattn.h confirmed")
    if options.only is None:
        run_node_tests(library, counter)
        print(f"node tests: {counter.passed} passed, {counter.failed} failed", flush=True)
    print(f"random combinations: seed {options.seed}", flush=True)
    for index in range(options.count) if options.only is None else [options.only]:
        run_combination(library, options.seed, index, counter)
    library.close()
    report(counter, library)
    return 1 if counter.failed or not (counter.passed or counter.declined) else 0


if __name__ == "__main__":
    sys.exit(main())

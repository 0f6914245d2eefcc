"""clattn bench reports what was asked for, in that order, and counts what it says it counts."""

import json
import os
import unittest

import tool_case

KEYS = (
    "op batch n_head n_kv_head n_q n_kv head_dim causal dtype seconds_min seconds_median gflops "
    "gbytes_per_s peak_gflops peak_gbytes_per_s share kernel"
).split()
EXTENTS = ("batch", "n_head", "n_kv_head", "n_q", "n_kv", "head_dim")
SHORT = ("--seconds", "0.001")


def form(*shape):
    return ",".join(map(str, shape))


def of_row(row):
    return (*(row[key] for key in EXTENTS), int(row["causal"]))


def visible_pairs(n_q, n_kv, causal):
    """Of one head, counted one by one."""
    last = n_kv - n_q
    return sum(max(0, min(n_kv, i + last + 1)) if causal else n_kv for i in range(n_q))


class BenchCase(tool_case.ToolCase):
    def rows(self, *words):
        return [json.loads(line) for line in self.run_good("bench", "--json", *words).splitlines()]

    def rows_of(self, *shapes):
        words = (word for shape in shapes for word in ("--shape", form(*shape)))
        return self.rows(*SHORT, *words)


class Rows(BenchCase):
    SHAPES = (
        (1, 4, 2, 33, 33, 16, 1),
        (2, 2, 2, 8, 20, 8, 1),
        (1, 2, 1, 20, 8, 8, 1),
        (1, 4, 4, 16, 24, 40, 0),
        (3, 4, 2, 1, 100, 32, 0),
        (1, 4, 4, 16, 24, 40, 0),
    )

    found = None  # of one run, since each measures the device anew

    def setUp(self):
        super().setUp()
        Rows.found = Rows.found or self.rows_of(*self.SHAPES)

    def test_order_and_keys(self):
        self.assertEqual([of_row(row) for row in self.found], list(self.SHAPES))
        for row in self.found:
            self.assertEqual(list(row), KEYS)
            self.assertEqual((row["op"], row["dtype"]), ("attention", "f32"))
            self.assertIsInstance(row["causal"], bool)
            self.assertTrue(row["kernel"])

    def test_figures(self):
        for row in self.found:
            batch, n_head, n_kv_head, n_q, n_kv, head_dim, causal = of_row(row)
            pairs = batch * n_head * visible_pairs(n_q, n_kv, causal)
            kv_bytes = 4 * 2 * batch * n_kv_head * n_kv * head_dim
            seconds = row["seconds_min"]
            self.assertGreater(seconds, 0)
            self.assertLessEqual(seconds, row["seconds_median"])
            self.assertAlmostEqual(row["gflops"] * seconds * 1e9 / (2 * pairs * 2 * head_dim), 1)
            self.assertAlmostEqual(row["gbytes_per_s"] * seconds * 1e9 / kv_bytes, 1)
            what = "gbytes_per_s" if n_q == 1 else "gflops"
            self.assertAlmostEqual(row["share"] * row["peak_" + what] / row[what], 1)

    def test_peaks_are_those_of_the_run(self):
        for key in ("peak_gflops", "peak_gbytes_per_s"):
            self.assertGreater(self.found[0][key], 0)
            self.assertEqual({row[key] for row in self.found}, {self.found[0][key]})


FEATURES = ("mask", "bias", "alibi", "softcap", "window", "f16", "bf16", "int8", "int4",
            "dropout", "top-k", "rotary", "lengths", "pages", "append", "uneven")  # fmt: skip
BYTES = {"f32": 4, "f16": 2, "bf16": 2, "int8": 1, "int4": 0.5}
INTEGERS = ("int8", "int4")  # a scale of 4 bytes a row
WINDOW = 256


def lengths_of(feature, batch, n_kv):
    """Keys of each batch entry."""
    if feature == "lengths":
        return [n_kv - (b + 1) % 4 * (n_kv // 4) for b in range(batch)]
    if feature == "uneven" and batch > 1:
        return [1 + (n_kv - 1) * b // (batch - 1) for b in range(batch)]  # in some order
    return [n_kv] * batch


def sees(feature, causal, n_q, length, i, j):
    """Whether query i sees key j of so many keys."""
    position = i + length - n_q
    return (
        j < length
        and not (feature == "mask" and (i + j) % 8 == 0)
        and not ((causal or feature == "window") and j > position)
        and not (feature == "window" and j < position - WINDOW)
    )


class Features(BenchCase):
    def check(self, row, feature, shape, dtype="f32"):
        dtype = feature if feature in BYTES else dtype
        self.assertEqual(of_row(row), shape)
        self.assertEqual(list(row), KEYS)
        self.assertEqual(row["dtype"], dtype)
        operation = "attention" if feature in BYTES else f"attention+{feature}"
        self.assertEqual(row["op"], operation)
        batch, n_head, n_kv_head, n_q, n_kv, head_dim, causal = shape
        lengths = lengths_of(feature, batch, n_kv)
        pairs = sum(
            sees(feature, causal, n_q, length, i, j)
            for length in lengths
            for i in range(n_q)
            for j in range(n_kv)
        )
        seconds = row["seconds_min"]
        operations = 2 * pairs * n_head * 2 * head_dim
        self.assertAlmostEqual(row["gflops"] * seconds * 1e9 / operations, 1)
        row_bytes = BYTES[dtype] * head_dim + (4 if dtype in INTEGERS else 0)
        kv_bytes = 2 * sum(lengths) * n_kv_head * row_bytes
        self.assertAlmostEqual(row["gbytes_per_s"] * seconds * 1e9 / kv_bytes, 1)

    def check_all(self, features, shapes, dtype):
        words = [w for shape in shapes for w in ("--shape", form(*shape))]
        words += [w for feature in features for w in ("--feature", feature)]
        rows = iter(self.rows(*SHORT, *words, "--dtype", dtype))
        for shape in shapes:
            for feature in features:
                with self.subTest(feature=feature, shape=shape):
                    self.check(next(rows), feature, shape, dtype)
        self.assertEqual(list(rows), [])

    def test_features(self):
        self.check_all(FEATURES, [(5, 4, 2, 21, 30, 16, 0), (1, 2, 2, 10, 300, 8, 0)], "f32")

    def test_features_and_causal(self):
        shapes = [(2, 2, 2, 21, 300, 8, 1), (2, 2, 2, 21, 8, 8, 1)]
        self.check_all(("mask", "window", "lengths", "alibi", "top-k"), shapes, "bf16")

    def test_suite(self):
        rows = self.rows(*SHORT, "--suite", "features")
        expected = []
        for length in (512, 1024):
            plain = (1, 8, 8, length, length, 64, 0)
            expected += [(plain, "attention", "f32")]
            for name in FEATURES:
                if name == "uneven":  # needs a batch
                    continue
                is_type = name in BYTES
                operation = "attention" if is_type else f"attention+{name}"
                expected.append((plain, operation, name if is_type else "f32"))
        found = [(of_row(row), row["op"], row["dtype"]) for row in rows]
        self.assertEqual(found, expected)

    def test_help_names_all(self):
        said = " ".join(self.run_good("bench", "--help").split())
        self.assertIn(f"{', '.join(FEATURES[:-1])} or {FEATURES[-1]}:", said)

    def test_text(self):
        shape = "1,2,2,16,16,64,1"
        said = self.run_good("bench", *SHORT, "--shape", shape, "--feature", "mask")
        self.assertRegex(said.splitlines()[-1], rf"^{shape} mask +\w+ .*GF/s +\d+\.\d %$")


class Linear(BenchCase):
    def test_suite(self):
        rows = self.rows(*SHORT, "--suite", "linear")
        widths = (384, 768, 1024, 1536, 2048)
        passes = ("linear", "linear_x", "linear_w")
        self.assertEqual([(row["op"], row["rows"], row["in"], row["out"]) for row in rows],
                         [(name, 512, width, width) for width in widths for name in passes])
        for row in rows:
            operations = 2 * row["rows"] * row["in"] * row["out"]
            self.assertTrue(row["kernel"].startswith(row["op"]))
            self.assertAlmostEqual(row["gflops"] * row["seconds_min"] * 1e9 / operations, 1)
            self.assertAlmostEqual(row["share"] * row["peak_gflops"] / row["gflops"], 1)


class Additive(BenchCase):
    def test_suite(self):
        rows = self.rows(*SHORT, "--suite", "additive")
        names = ("additive", "additive_gradient")
        self.assertEqual([(row["op"], row["n_q"], row["n_kv"], row["channels"]) for row in rows],
                         [(name, length, length, 128) for length in (128, 512, 1024)
                          for name in names])
        for row in rows:
            each = 9.5 if row["op"] == "additive" else 25.5
            operations = each * row["n_q"] * row["n_kv"] * row["channels"]
            self.assertTrue(row["kernel"].startswith(row["op"]))
            self.assertNotIn("causal", row)
            self.assertAlmostEqual(row["gflops"] * row["seconds_min"] * 1e9 / operations, 1)
            self.assertAlmostEqual(row["share"] * row["peak_gflops"] / row["gflops"], 1)


class Backward(BenchCase):
    def test_five_products(self):
        shapes = [(2, 4, 2, 33, 40, 16, 1), (1, 2, 2, 1, 65, 8, 0)]
        words = (word for shape in shapes for word in ("--shape", form(*shape)))
        rows = self.rows(*SHORT, "--backward", *words)
        self.assertEqual([of_row(row) for row in rows], shapes)
        for row in rows:
            batch, n_head, _, n_q, n_kv, head_dim, causal = of_row(row)
            operations = 10 * batch * n_head * visible_pairs(n_q, n_kv, causal) * head_dim
            self.assertEqual(row["op"], "gradient")
            self.assertTrue(row["kernel"].startswith("gradient"))
            self.assertAlmostEqual(row["gflops"] * row["seconds_min"] * 1e9 / operations, 1)
            self.assertAlmostEqual(row["share"] * row["peak_gflops"] / row["gflops"], 1)

    def test_features(self):
        shape = ("--shape", "1,2,2,40,70,16", "--backward")
        features = [name for name in FEATURES
                    if name not in (*INTEGERS, "top-k", "rotary", "pages", "append",
                                    "uneven")]  # fmt: skip
        words = (word for name in features for word in ("--feature", name))
        rows = self.rows(*SHORT, *shape, *words)
        self.assertEqual(len(rows), len(features))
        for name, row in zip(features, rows, strict=True):
            expected = "gradient" if name in BYTES else f"gradient+{name}"
            self.assertEqual(row["op"], expected)

    def test_wrong(self):
        self.run_bad(2, "--backward", "bench", "--backward")
        integers = ("--shape", "1,2,2,40,70,16", "--backward", "--feature", "int8")
        self.run_bad(2, "--shape", "bench", *integers)
        pages = ("--shape", "1,2,2,40,70,16", "--backward", "--feature", "append")
        self.run_bad(2, "--shape", "bench", *pages)
        self.run_bad(2, "--backward", "bench", "--suite", "backward", "--backward")


class Choices(BenchCase):
    def check_trace(self, trace):
        """Launches of one lane, each after the one before, and names for all that has one."""
        events = trace["traceEvents"]
        spans = [event for event in events if event["ph"] == "X"]
        self.assertGreater(len(spans), 100)
        self.assertEqual({span["tid"] for span in spans}, {0})
        for before, span in zip(spans, spans[1:], strict=False):
            self.assertGreaterEqual(span["ts"], before["ts"])
        for span in spans:
            self.assertGreater(span["dur"], 0)
            self.assertGreaterEqual(span["args"]["launches"], 1)
        names = [event["args"]["name"] for event in events if event["ph"] == "M"]
        self.assertEqual(names, ["clattn dispatcher", "lane 0"])
        steps, ended = (sum(span["args"][key] for span in spans)
                        for key in ("steps", "submissions_ended"))
        self.assertGreater(ended, 1000)
        self.assertGreaterEqual(steps, ended)  # parts of one have none until the last

    DISPATCH = {
        "submit": ("seconds", "raw_seconds"),
        "end_to_end": ("seconds", "raw_seconds", "launches"),
        "plan": ("seconds",),
        "batch": ("seconds", "seconds_one_sequence"),
        "mixed_lengths": ("seconds", "seconds_one_launch_a_head", "launches"),
        "serving": ("tokens_per_s", "tokens_per_s_naive", "p50_ms", "p95_ms", "p99_ms",
                    "p99_ms_without_prefill"),
        "two_lanes": ("speedup_over_one_lane",),
        "slowed_lane": ("speedup_over_one_lane",),
    }  # fmt: skip
    LANES = ("two_lanes", "slowed_lane")

    def dispatch_rows(self, done):
        """Rows by their name; those that need two cores may be missing, with a reason."""
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        rows = [json.loads(line) for line in done.stdout.decode().splitlines()]
        found = [row["name"] for row in rows]
        missing = [name for name in self.DISPATCH if name not in found]
        self.assertEqual(found, [name for name in self.DISPATCH if name not in missing])
        said = done.stderr.decode().splitlines()
        self.assertEqual(len(said), len(missing), said)
        for name, line in zip(missing, said, strict=True):
            self.assertIn(name, self.LANES)
            self.assertRegex(line, f"^clattn: {name}: left out: .{{20,}}")
        return {row["name"]: row for row in rows}

    def test_dispatch(self):
        words = ("bench", "--json", "--suite", "dispatch", "--seconds", "0.05")
        rows = self.dispatch_rows(self.run_tool(*words, "--trace", "trace.json"))
        for name, row in rows.items():
            self.assertEqual(list(row), ["name", *self.DISPATCH[name]])
            for figure in self.DISPATCH[name]:
                self.assertGreater(row[figure], 0, f"{name}: {figure}")
        self.assertLessEqual(rows["mixed_lengths"]["launches"], 3)
        self.assertLess(rows["submit"]["raw_seconds"], rows["submit"]["seconds"])
        self.check_trace(json.loads((self.folder / "trace.json").read_text()))
        self.run_bad(2, "--trace", "bench", "--trace", "t.json")
        self.run_bad(2, "--suite", "bench", "--suite", "dispatch", "--shape", "1,1,1,1,1,64")

    @unittest.skipUnless(hasattr(os, "sched_setaffinity"), "no way to bind it to a core")
    def test_dispatch_on_one_core(self):
        """Rows of two cores are left out, and text names the others."""
        cores = os.sched_getaffinity(0)
        self.addCleanup(os.sched_setaffinity, 0, cores)
        os.sched_setaffinity(0, {min(cores)})
        done = self.run_tool("bench", "--suite", "dispatch", "--seconds", "0.01")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        names = [line.split()[0] for line in done.stdout.decode().splitlines()]
        self.assertEqual(names, [name for name in self.DISPATCH if name not in self.LANES])
        for name, line in zip(self.LANES, done.stderr.decode().splitlines(), strict=True):
            self.assertRegex(line, f"^clattn: {name}: left out: needs .* 2 cores; .* may use 1$")

    def test_suites(self):
        """Short by default, and before shapes."""
        expected = [
            (1, heads, heads, length, length, 64, 0)
            for heads in (8, 12)
            for length in (64, 96, 128, 256, 384, 512)
        ]
        self.assertEqual([of_row(row) for row in self.rows(*SHORT)], expected)
        extra = (1, 1, 1, 5, 5, 8, 0)
        both = self.rows(*SHORT, "--shape", form(*extra[:-1]), "--suite", "short")
        self.assertEqual([of_row(row) for row in both], [*expected, extra])

    def test_kernel_device_and_dtype(self):
        words = ("--kernel", "attention_reference", "--device", "0", "--dtype", "bf16")
        (row,) = self.rows(*SHORT, "--shape", form(1, 2, 2, 16, 16, 64), *words)
        found = (row["op"], row["dtype"], row["kernel"])
        self.assertEqual(found, ("attention", "bf16", "attention_reference"))

    def test_text(self):
        shapes = ("1,2,2,16,16,64,1", "1,2,2,1,16,64,0")
        said = self.run_good("bench", *SHORT, "--shape", shapes[0], "--shape", shapes[1])
        lines = said.splitlines()
        self.assertRegex(lines[0], r": peak \d+\.\d GF/s \(float32\), \d+\.\d GB/s read; "
                         r"an empty launch \d+\.\d us, \d+\.\d\d us among many; tensors in f32$")
        self.assertRegex(lines[-2], rf"^{shapes[0]} +\w+ .*GF/s +\d+\.\d %$")
        self.assertRegex(lines[-1], rf"^{shapes[1]} +\w+ .*GB/s +\d+\.\d %$")


class Errors(BenchCase):
    SHAPES = (
        "1",
        "1,8,8,64,64",
        "1,8,8,64,64,",
        "1,8,8,64,64,64,2",
        "1,8,8,64,64,64,-1",
        "1,8,8,64,64,64,1,1",
        "1,8,8,64,64,64,1 ",
        "0,8,8,64,64,64",
        "1,8,8,0,64,64",
        "-1,8,8,64,64,64",
        "1,8,8,64,64,6.4",
        "1, 8,8,64,64,64",
        "1;8;8;64;64;64",
        "1,8,8,2147483648,64,64",
        "1,8,8,64,64,99999999999999999999999",
        "batch,8,8,64,64,64",
        "one\ntwo",
        # What the library refuses.
        "1,8,3,64,64,64",
        "1,8,8,64,64,577",
        # More memory than there is.
        "1,1,1,2147483647,64,576",
        "1,1,1,64,2147483647,576",
        "2147483647,2147483647,2147483647,2147483647,2147483647,576",
    )
    OTHERS = (
        ("--shape", ("--shape", "")),
        ("--shape", ("--shape",)),
        ("--suite", ("--suite", "long")),
        ("--dtype", ("--dtype", "f99")),
        ("--feature", ("--shape", "1,1,1,4,4,8", "--feature", "speed")),
        ("--feature", ("--feature", "mask")),
        ("--feature", ("--suite", "short", "--feature", "mask")),
        ("--kernel", ("--kernel", "attention")),
        ("--seconds", ("--seconds", "0")),
        ("--seconds", ("--seconds", "-1")),
        ("--seconds", ("--seconds", "1e9")),
        ("--seconds", ("--seconds", "nan")),
        ("extra", ("extra",)),
    )

    def test_shapes(self):
        for shape in self.SHAPES:
            with self.subTest(shape=shape):
                self.run_bad(2, "--shape", "bench", "--shape", "1,1,1,4,4,8", "--shape", shape)

    def test_reasons(self):
        line = self.run_bad(2, "--shape", "bench", "--shape", "1,8,3,64,64,64")
        self.assertIn("1,8,3,64,64,64,0: n_kv_head: 3 ", line)
        line = self.run_bad(2, "--shape", "bench", "--shape", "1,1,1,2147483647,64,576")
        self.assertRegex(line, r"needs \d+\.\d GiB")
        line = self.run_bad(2, "--kernel", "bench", "--kernel", "attention")
        self.assertIn("attention_reference", line)

    def test_other_options(self):
        for argument, words in self.OTHERS:
            with self.subTest(words=words):
                self.run_bad(2, argument, "bench", *words)

    def test_devices(self):
        self.run_bad(1, "--device", "bench", "--device", "no such device")
        nowhere = str(self.folder / "libOpenCL.so")
        self.run_bad(1, "CLATTN_OPENCL_LIBRARY", "bench", CLATTN_OPENCL_LIBRARY=nowhere)


if __name__ == "__main__":
    tool_case.main()

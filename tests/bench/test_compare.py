"""What bench/compare.py does without the libraries that it compares: shapes, turns, rows, ratios,
tables. Needs the standard library alone."""

import contextlib
import io
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
sys.path[1:1] = [str(ROOT / "bench"), str(HERE)]

import compare
import load
import results
import shapes
import turns


class Shapes(unittest.TestCase):
    def test_parse(self):
        self.assertEqual(shapes.parse("1,32,8,5,7,64"), (1, 32, 8, 5, 7, 64, 0))
        self.assertEqual(shapes.parse("2,8,8,1,7,64,1"), (2, 8, 8, 1, 7, 64, 1))
        self.assertEqual(str(shapes.parse("1,8,8,5,7,64")), "1,8,8,5,7,64,0")

    def test_refused(self):
        texts = ("", "1", "1,8,8,64,64", "1,8,8,64,64,64,0,0", "1,8,8,64,64,", "1,8,8,64,64,6.4",
                 "1, 8,8,64,64,64", "1,8,8,64,64,+64", "1,8,8,64,64,-64", "0,8,8,64,64,64",
                 "1,8,8,0,64,64", "1,8,3,64,64,64", "1,8,8,64,64,64,2", "1,8,8,64,64,²",
                 "1,8,8,2147483648,64,64", "1,8,0,64,64,64")
        for text in texts:
            with self.subTest(text=text), self.assertRaises(shapes.ShapeError) as caught:
                shapes.parse(text)
            self.assertIn(f"'{text}'", str(caught.exception))

    def test_visible_pairs(self):
        for n_q in (1, 2, 3, 7, 10):
            for n_kv in (1, 2, 3, 7, 10):
                shape = shapes.Shape(1, 1, 1, n_q, n_kv, 8, 1)
                pairs = sum(j <= i + n_kv - n_q for i in range(n_q) for j in range(n_kv))
                self.assertEqual(shape.visible_pairs(), pairs, shape)
                self.assertEqual(shape._replace(causal=0).visible_pairs(), n_q * n_kv)
                self.assertEqual(shape.needs_mask, n_q not in (1, n_kv))
                self.assertFalse(shape._replace(causal=0).needs_mask)

    def test_rates(self):
        shape = shapes.Shape(2, 6, 3, 10, 20, 8, 0)
        self.assertEqual(shape.operations(), 4 * 2 * 6 * 10 * 20 * 8)
        self.assertAlmostEqual(shape.rate(0.5), shape.operations() * 2e-9)
        decode = shape._replace(n_q=1)
        self.assertEqual(decode.kv_bytes(), 2 * 4 * 2 * 3 * 20 * 8)
        self.assertAlmostEqual(decode.rate(0.5), decode.kv_bytes() * 2e-9)
        self.assertEqual((shape.rate_unit, decode.rate_unit), ("GF/s", "GB/s"))

    def test_suites(self):
        sizes = {name: len(of) for name, of in shapes.SUITES.items()}
        self.assertEqual(sizes, {"short": 10, "prefill": 48, "decode": 8, "backward": 8,
                                 "linear": 5, "layers": 4, "additive": 2})
        for name, of in shapes.SUITES.items():
            self.assertEqual(len(set(of)), len(of))
            self.assertEqual(len({shape.operation for shape in of}), 1)
            for shape in of:
                self.assertEqual(shapes.suite_of(shape), name)
                self.assertEqual(len(str(shape).split(",")), len(shape.form.split(",")))
                if shape.operation == "attention":
                    self.assertEqual(shapes.parse(str(shape)), shape)
        self.assertEqual(shapes.suite_of(shapes.parse("1,8,8,5,7,64")), "other")


class Training(unittest.TestCase):
    def test_operations(self):
        attention = shapes.Shape(1, 8, 8, 10, 20, 16, 1)
        self.assertEqual(2 * shapes.Backward(*attention).operations(), 5 * attention.operations())
        self.assertEqual(shapes.Linear(3, 5, 7).operations(), 2 * 3 * 5 * 7)
        forward, both = (shapes.MultiHead(2, 10, 16, 4, passes) for passes in (1, 2))
        projections = 4 * shapes.Linear(20, 16, 16).operations()
        products = shapes.Shape(2, 4, 4, 10, 10, 4).operations()
        self.assertEqual(forward.operations(), projections + products)
        self.assertEqual(2 * both.operations(), 6 * projections + 7 * products)
        self.assertEqual(shapes.Additive(2, 3, 5, 7, 11, 2).operations(), 2 * 2 * 3 * 5 * 7)

    def test_one_query_of_gradients_is_no_decode(self):
        shape = shapes.Backward(1, 8, 8, 1, 100, 64)
        self.assertEqual(shape.rate_unit, "GF/s")
        self.assertAlmostEqual(shape.rate(1e-9), shape.operations())

    def test_same_extents_are_another_suite(self):
        shape = shapes.SUITES["backward"][0]
        self.assertEqual(shapes.suite_of(shape), "backward")
        self.assertEqual(shapes.suite_of(shapes.Shape(*shape)), "prefill")
        chosen = compare.chosen_shapes(compare.parse_options(
            ["--suite", "prefill", "--suite", "backward"]))
        self.assertEqual(len(chosen), 56)

    def test_rows_come_back(self):
        for suite, of in shapes.SUITES.items():
            row = results.make_row(suite, of[0], "x", {"a": [(1.0, 1.0)]}, ABOUT)
            found = results.shape_of(json.loads(json.dumps(row)))
            self.assertEqual((type(found), found), (type(of[0]), of[0]))
        before = {**dict(zip(shapes.Shape._fields, SQUARE)), "causal": False}
        self.assertEqual(results.shape_of(before), SQUARE)

    def test_table_with_memory(self):
        shape = shapes.SUITES["additive"][0]
        rows = rows_of("additive", shape, (1e-3, 2e-3), ("p", 5e-3, 5e-3))
        rows[0]["memory_bytes"] = 3.25e6
        rows[1]["memory_bytes"] = None
        text = results.markdown(rows)
        self.assertIn("| of medians | clattn, MB | p, MB |", text)
        self.assertIn("| 5.00 | 2.50 | 3.2 | - |", text)
        self.assertNotIn("MB", results.markdown(rows_of("short", SQUARE, (1.0, 1.0))))


def fake(name, environment=None, **arguments):
    return turns.Contender(name, "fake_subject:Fake", arguments, environment)


class Turns(unittest.TestCase):
    def start(self, *given, **arguments):
        contender = fake(*given, **arguments)
        self.addCleanup(contender.close)
        return contender

    def test_environment_is_the_contenders_alone(self):
        one = self.start("one", {"FAKE_SETTING": "this"})
        other = self.start("other")
        self.assertEqual(one.ask("describe"), "fake with this")
        self.assertEqual(other.ask("describe"), "fake with nothing set")
        self.assertNotIn("FAKE_SETTING", os.environ)

    def test_time(self):
        contender = self.start("one", seconds=0.02)
        self.assertEqual(contender.ask("prepare", None, None), ["quick", "slow"])
        for variant, seconds in (("quick", 0.02), ("slow", 0.04)):
            contender.ask("build", variant)
            for slice_seconds in (0.001, 0.09):
                fastest, median = contender.ask("time", variant, slice_seconds)
                self.assertGreaterEqual(fastest, seconds)
                self.assertGreaterEqual(median, fastest)

    def test_processor_time(self):
        """Sleeping takes none."""
        contender = self.start("one", seconds=0.02)
        contender.ask("prepare", None, None)
        contender.ask("build", "quick")
        fastest, _ = contender.ask("time", "quick", 0.0001, 2)
        self.assertLess(fastest, 0.01)

    def test_rounds_alternate(self):
        one, other = self.start("one"), self.start("other")
        entries = [(one, "quick"), (one, "slow"), (other, "quick")]
        for contender in (one, other):
            contender.ask("prepare", None, None)
        for contender, variant in entries:
            contender.ask("build", variant)
        order = [entry for entry, *_ in turns.rounds(entries, 4, 0.001)]
        for number in range(4):
            of_round = order[3 * number:3 * number + 3]
            self.assertCountEqual(of_round, entries)
            self.assertEqual(of_round[0], entries[number % 3])

    def test_nothing_runs_outside_its_turn(self):
        contender = self.start("one")
        contender.ask("start_thread")
        time.sleep(0.05)
        before = contender.ask("count")
        time.sleep(0.3)
        self.assertLess(contender.ask("count") - before, 100)

    def test_variants_that_are_not_built(self):
        contender = self.start("one")
        contender.ask("prepare", None, None)
        self.assertEqual([contender.ask("build", name) for name in ("quick", "slow")], [1, 2])
        contender.ask("drop", "quick")
        contender.ask("time", "slow", 0.001)
        with self.assertRaisesRegex(turns.Trouble, "quick"):
            contender.ask("time", "quick", 0.001)
        contender.ask("prepare", None, None)
        with self.assertRaisesRegex(turns.Trouble, "slow"):
            contender.ask("time", "slow", 0.001)

    @unittest.skipUnless(os.access("/proc/self/clear_refs", os.W_OK), "needs /proc")
    def test_memory(self):
        contender = self.start("one", touches=64 * 2**20)
        contender.ask("prepare", None, None)
        contender.ask("build", "quick")
        found = contender.ask("memory", "quick")
        self.assertGreater(found, 60 * 2**20)
        self.assertLess(found, 80 * 2**20)

    def test_failures(self):
        with self.assertRaisesRegex(turns.Trouble, "^one: ValueError: no such library"):
            self.start("one", fails_at="start")
        shape = shapes.parse("1,8,8,5,7,64")
        contender = self.start("one", fails_at="prepare")
        with self.assertRaisesRegex(turns.Trouble, "^one: RuntimeError: can't do 1,8,8,5,7,64,0"):
            contender.ask("prepare", shape, None)
        self.assertTrue(contender.ask("describe"))
        contender = self.start("two", fails_at="kill")
        for _ in range(2):
            with self.assertRaisesRegex(turns.Trouble, "^two: its process was ended by signal 9"):
                contender.ask("prepare", shape, None)

    def test_unknown_module(self):
        with self.assertRaisesRegex(turns.Trouble, "one: ModuleNotFoundError"):
            turns.Contender("one", "no_such_module:Fake")

    @unittest.skipUnless(sys.platform == "linux", "needs PR_SET_PDEATHSIG")
    def test_a_killed_parent_leaves_nobody(self):
        program = ("import os, signal, sys\n"
                   f"sys.path[1:1] = {sys.path[1:3]!r}\n"
                   "import turns\n"
                   "if __name__ == '__main__':\n"
                   "    one = turns.Contender('one', 'fake_subject:Fake')\n"
                   "    print(one.process.pid, flush=True)\n"
                   "    os.kill(os.getpid(), signal.SIGKILL)\n")
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "parent.py"
            path.write_text(program, encoding="utf-8")
            done = subprocess.run([sys.executable, path], stdout=subprocess.PIPE, check=False)
        child = int(done.stdout)
        for _ in range(100):
            state = pathlib.Path(f"/proc/{child}/stat")
            if not state.exists() or state.read_text().rpartition(")")[2].split()[0] in "ZX":
                return
            time.sleep(0.05)
        self.fail(f"process {child} is still there")


class Load(unittest.TestCase):
    def test_own_work_is_not_others(self):
        clock = iter((5.0, 7.0))
        ticks = os.sysconf("SC_CLK_TCK")
        busy, own = iter((1000, 1000 + 3 * ticks)), iter((10, 7, 10 + ticks // 2, 7 + ticks // 2))
        with mock.patch.object(load, "busy_ticks", lambda: next(busy)), \
                mock.patch.object(load, "process_ticks", lambda pid: next(own)):
            self.assertAlmostEqual(load.Load([1], lambda: next(clock)).others(), 1.0)

    @unittest.skipUnless(sys.platform == "linux", "needs /proc")
    def test_ticks(self):
        begin = load.busy_ticks()
        while time.process_time() < 0.1:
            pass
        found = load.process_ticks(os.getpid()) / os.sysconf("SC_CLK_TCK")
        self.assertAlmostEqual(found, time.process_time(), delta=0.05)
        self.assertGreaterEqual(load.busy_ticks(), begin)

    def test_without_proc(self):
        seen = load.Load([2**30], lambda: 0.0)
        self.assertIsNone(seen.others())


ABOUT = {"peer": False, "others": 0.0, "description": "x 1", "cpu": "CPU", "threads": 2,
         "agrees": True}
PEER = {**ABOUT, "peer": True}
SQUARE = shapes.parse("1,8,8,64,64,64")
CAUSAL = shapes.parse("1,8,8,128,128,64,1")


def rows_of(suite, shape, own, *peers):
    """peers: (name, fastest, median)."""
    rows = [results.make_row(suite, shape, "clattn", {"call": [own]}, ABOUT)]
    rows += [results.make_row(suite, shape, name, {"call": [seconds]}, PEER)
             for name, *seconds in peers]
    results.add_ratios(rows)
    return rows


class Results(unittest.TestCase):
    def test_row(self):
        times = {"a": [(3.0, 4.0), (2.0, 9.0), (5.0, 5.0)], "b": [(2.5, 2.5)] * 3}
        row = results.make_row("short", CAUSAL, "x", times, ABOUT)
        self.assertEqual((row["variant"], row["rounds"]), ("a", 3))
        self.assertEqual((row["seconds_min"], row["seconds_median"]), (2.0, 5.0))
        self.assertAlmostEqual(row["rate"], CAUSAL.operations() / 2e9)
        self.assertEqual((row["rate_unit"], row["operation"]), ("GF/s", "attention"))
        self.assertEqual(results.shape_of(json.loads(json.dumps(row))), CAUSAL)

    def test_ratios(self):
        own, fast, slow = rows_of("short", SQUARE, (2.0, 4.0), ("p", 3.0, 9.0), ("q", 5.0, 6.0))
        self.assertAlmostEqual(own["ratio"], 1.5)
        self.assertAlmostEqual(own["ratio_median"], 1.5)
        self.assertEqual((own["best_peer"], own["best_peer_median"]), ("p", "q"))
        self.assertNotIn("ratio", fast | slow)

    def test_wrong_results_are_no_peers(self):
        rows = rows_of("short", SQUARE, (2.0, 2.0), ("p", 1.0, 1.0), ("q", 4.0, 4.0))
        rows[1]["agrees"] = False
        results.add_ratios(rows)
        self.assertAlmostEqual(rows[0]["ratio"], 2)
        own = results.make_row("short", SQUARE, "clattn", {"call": [(1.0, 1.0)]},
                               {**ABOUT, "agrees": False})
        results.add_ratios([own, *rows[1:]])
        self.assertNotIn("ratio", own)
        self.assertIn("!", results.text_line(rows, ["clattn", "p", "q"], ["clattn"]))

    def test_geometric_mean(self):
        self.assertAlmostEqual(results.geometric_mean([2, 8]), 4)
        self.assertAlmostEqual(results.geometric_mean(iter([0.5, 2, 3])), 3 ** (1 / 3))
        self.assertIsNone(results.geometric_mean([]))

    def test_summaries(self):
        rows = rows_of("short", SQUARE, (1.0, 1.0), ("p", 4.0, 9.0))
        rows += rows_of("short", CAUSAL, (2.0, 2.0), ("p", 2.0, 2.0))
        rows += rows_of("other", SQUARE, (1.0, 1.0))
        (first, name, short), (second, _, other) = results.summaries(rows)
        self.assertEqual((first, name, second), ("short", "clattn", "other"))
        self.assertAlmostEqual(short.mean, 2)
        self.assertAlmostEqual(short.mean_median, 3)
        self.assertEqual(str(short), "geometric mean 2.00 (of medians 3.00), least 1.00 at "
                                     "1,8,8,128,128,64,1, 2 shapes")
        self.assertEqual(str(other), "no peer to compare with")

    def test_text(self):
        rows = rows_of("short", SQUARE, (1e-3, 2e-3), ("p", 2e-3, 2e-3))
        head = results.text_head(SQUARE.form, ["clattn", "p", "absent"], ["clattn"])
        line = results.text_line(rows, ["clattn", "p", "absent"], ["clattn"])
        self.assertEqual(len(head), len(line))
        self.assertEqual(line.split(), ["1,8,8,64,64,64,0", "1.0000", "2.0000", "-", "8.4", "GF/s",
                                        "2.00", "1.00"])

    def test_markdown(self):
        rows = rows_of("short", SQUARE, (1e-3, 2e-3), ("p", 2e-3, 2e-3), ("q", 1e-3, 1e-3))
        rows += rows_of("decode", shapes.parse("1,8,8,1,100,64"), (1e-3, 2e-3), ("p", 1e-4, 1e-4))
        text = results.markdown(rows)
        self.assertIn("Measured on: CPU, 2 threads. Meanwhile other programs kept 0.00 cores busy "
                      "on average.\n", text)
        self.assertIn("- clattn: x 1\n- p: x 1\n- q: x 1\n", text)
        self.assertIn("| 1,8,8,64,64,64,0 | 8.4 | 4.2 | **8.4** | 1.00 | 0.50 |", text)
        self.assertIn("clattn, GB/s | p, GB/s | ratio | of medians |", text)
        self.assertIn("geometric mean 0.10 ", text)
        busy = [{**row, "clock": "cpu"} for row in rows]
        self.assertIn("Measured on: CPU, 2 threads, processor time. ", results.markdown(busy))
        table = [line.count("|") for line in text.splitlines() if line.startswith("|")]
        self.assertEqual(table, [7, 7, 7, 6, 6, 6])

    def test_disturbance(self):
        self.assertIn("not known", results.disturbance([{"others": None}, {}]))
        text = results.disturbance([{"others": 0.0}, {"others": 0.5}])
        self.assertRegex(text, r" 0\.25 cores .* not the figures of a quiet machine\.$")

    def test_marks(self):
        begin, end = results.SECTIONS["attention"]
        others = "".join(results.SECTIONS["training"])
        document = f"before\n{begin}old\n{end}{others}after\n"
        rows = rows_of("short", SQUARE, (1e-3, 2e-3), ("p", 2e-3, 2e-3))
        made = results.markdown(rows)
        once = results.replace_between_marks(document, rows)
        self.assertEqual(once, f"before\n{begin}\n{made}\n{end}{others}after\n")
        self.assertEqual(results.replace_between_marks(once, rows), once)
        self.assertEqual(results.replace_between_marks("no marks", rows), made)

    def test_marks_of_two_sections(self):
        document = "".join(f"{begin}old {name}\n{end}" for name, (begin, end)
                           in results.SECTIONS.items())
        rows = rows_of("linear", shapes.SUITES["linear"][0], (1e-3, 2e-3), ("p", 2e-3, 2e-3))
        once = results.replace_between_marks(document, rows)
        self.assertIn("old attention", once)
        self.assertNotIn("old training", once)
        self.assertIn("| 512,384,384 | 151.0 | **75.5** | 2.00 | 1.00 |", once)
        both = results.replace_between_marks(document, rows + rows_of("short", SQUARE, (1.0, 1.0)))
        self.assertNotIn("old", both)
        self.assertEqual(both.count("### "), 2)


class CommandLine(unittest.TestCase):
    def refuse(self, *words):
        said = io.StringIO()
        with contextlib.redirect_stderr(said), self.assertRaises(SystemExit) as caught:
            compare.parse_options(words)
        self.assertEqual(caught.exception.code, 2)
        return said.getvalue()

    def test_shapes(self):
        def chosen(*words):
            return compare.chosen_shapes(compare.parse_options(words))
        self.assertEqual(len(chosen()), 58)
        self.assertEqual(len(chosen("--suite", "all")), 85)
        self.assertEqual(len(chosen("--suite", "decode", "--suite", "short")), 18)
        self.assertEqual(chosen("--shape", "1,8,8,64,64,64", "--shape", "1,8,8,5,7,64",
                                "--shape", "1,8,8,5,7,64,0"),
                         [("short", SQUARE), ("other", shapes.parse("1,8,8,5,7,64"))])

    def test_refused(self):
        self.assertIn("'1,8' has 2 numbers", self.refuse("--shape", "1,8"))
        for words in (("--rounds", "0"), ("--rounds", "x"), ("--slice", "-1"), ("--slice", "nan"),
                      ("--suite", "long"), ("--shape", "512,384,384"), ("--contender", "numpy"),
                      ("--threads", "0"), ("--clock", "sun"), ("extra",),
                      ("--device", "0", "--opencl", "intel", "--opencl", "system")):
            with self.subTest(words=words):
                self.assertIn(words[0], self.refuse(*words))

    def test_from_file_to_table(self):
        rows = rows_of("short", SQUARE, (1e-3, 2e-3), ("p", 2e-3, 2e-3))
        with tempfile.TemporaryDirectory() as folder:
            source, table = (pathlib.Path(folder) / name for name in ("rows.json", "table.md"))
            source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            marks = "".join(results.SECTIONS["attention"])
            table.write_text(f"# Title\n{marks}the end\n", encoding="utf-8")
            words = [ROOT / "bench/compare.py", "--from", source, "--table", table]
            done = subprocess.run([sys.executable, *words], capture_output=True, text=True,
                                  env={**os.environ, "CLATTN_PEERS": folder}, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("short, clattn: geometric mean 2.00", done.stdout)
            text = table.read_text(encoding="utf-8")
            self.assertRegex(text, r"(?s)^# Title\n.*\| 2\.00 \|.*the end\n$")
            self.assertEqual(sorted(os.listdir(folder)), ["rows.json", "table.md"])

    def test_nobody_has_it(self):
        options = compare.parse_options(["--suite", "linear", "--contender", "OpenVINO"])
        with self.assertRaisesRegex(ValueError, "none of OpenVINO"):
            compare.start(options, compare.chosen_shapes(options))

    def test_broken_file(self):
        with tempfile.TemporaryDirectory() as folder:
            for name, content in (("absent", None), ("text", "no json\n"), ("keys", "{}\n")):
                path, table = pathlib.Path(folder) / name, pathlib.Path(folder) / "table.md"
                if content is not None:
                    path.write_text(content, encoding="utf-8")
                words = [ROOT / "bench/compare.py", "--from", path, "--table", table]
                done = subprocess.run([sys.executable, *words], capture_output=True, text=True,
                                      env={**os.environ, "CLATTN_PEERS": folder}, check=False)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertRegex(done.stderr, r"^compare: [^\n]+\n$")
                self.assertFalse(table.exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)

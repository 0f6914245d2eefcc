"""clattn tune: searching in little time, showing, forgetting, being interrupted; and that the other
commands use what it has found."""

import json
import signal
import subprocess
import time

import tool_case

HEADER = "clattn tuning 1\n"
NARROW = "VEC=4 ROWS=4 COLS=2 VALUE_COLS=2 BLOCK_M=24 BLOCK_N=64"  # fits every device
TOO_LARGE = NARROW.replace("ROWS=4", "ROWS=5")  # doesn't divide the block
# Of --quick.
CLASSES = {("attention_simd", problems)
           for problems in ("dim=64", "dim=64,short", "dim=128", "dim=128,short")}
CLASSES |= {("attention_decode_simd", problems) for problems in ("queries=1", "queries=3+")}


class TuneCase(tool_case.ToolCase):
    def setUp(self):
        super().setUp()
        self.cache = self.folder / "cache"
        self.path = self.cache / "tuning.txt"

    def run_tune(self, *words):
        return self.run_good("tune", *words, CLATTN_CACHE_DIR=str(self.cache))

    def device(self):
        return json.loads(self.run_good("devices", "--json"))["devices"][0]

    def write_row(self, problems, configuration):
        """A tuning file with one row for the first device."""
        device = self.device()
        row = ["attention_simd", problems, configuration, self.run_good("version").split()[1],
               device["name"], device["driver"], device["platform_version"],
               str(device["compute_units"]), "1.250"]
        self.cache.mkdir(mode=0o700, exist_ok=True)
        self.path.write_text(HEADER + "\t".join(row) + "\n", encoding="utf-8")


class Search(TuneCase):
    def test_json(self):
        start = time.monotonic()
        found = json.loads(self.run_tune("--device", "0", "--quick", "--budget", "4", "--json"))
        self.assertLess(time.monotonic() - start, 60)
        self.assertEqual(found["file"], str(self.path))
        self.assertEqual(found["device"], self.device()["name"])
        self.assertEqual({(row["kernel"], row["problems"]) for row in found["classes"]}, CLASSES)
        faster = set()
        for row in found["classes"]:
            self.assertIn(row["best"], ("built-in", "faster", "no time"))
            self.assertEqual(row["speedup"] > 1, row["best"] == "faster")
            self.assertGreaterEqual(row["tried"], 0)
            self.assertEqual(bool(row["configuration"]), row["best"] != "no time")
            if row["best"] == "faster":
                faster.add(row["problems"])
        self.assertTrue(self.path.read_text(encoding="utf-8").startswith(HEADER))
        shown = json.loads(self.run_tune("--show", "--json"))
        self.assertEqual({row["problems"] for row in shown["rows"]}, faster)

    def test_text(self):
        said = self.run_tune("--device", "0", "--quick", "--budget", "0.5")
        self.assertIn(self.device()["name"], said)
        self.assertRegex(said, r"(?m)^attention_(decode_)?simd +\S+ +(built-in|faster) +\d\.\d{3}")
        self.assertRegex(said, rf"\d of {len(CLASSES)} classes [^\n]* kept in {self.path}\n$")

    def test_what_can_not_work(self):
        for words, argument in (
            (["--budget", "0"], "--budget"),
            (["--budget", "-3"], "--budget"),
            (["--budget", "nan"], "--budget"),
            (["--budget", "1e9"], "--budget"),
            (["--budget", "x"], "--budget"),
            (["--show", "--forget"], "--forget"),
            (["--show", "--quick"], "--show"),
            (["--forget", "--device", "0"], "--forget"),
            (["now"], "now"),
            (["--quick=yes"], "--quick"),
        ):
            with self.subTest(words=words):
                self.run_bad(2, argument, "tune", *words)
        self.run_bad(1, "--device", "tune", "--device", "no such device")
        self.run_bad(2, "--kernel", "tune", "--kernel", "no_such_kernel")
        self.run_bad(1, "tune", "tune", "--kernel", "attention_reference",
                     CLATTN_CACHE_DIR="/dev/null")

    def test_folders_that_can_not_be_used(self):
        start = time.monotonic()
        self.run_bad(1, "tune", "tune", CLATTN_CACHE_DIR="/dev/null/x")
        (self.folder / "open").mkdir()
        (self.folder / "open").chmod(0o777)
        self.run_bad(1, "tune", "tune", CLATTN_CACHE_DIR=str(self.folder / "open"))
        self.assertLess(time.monotonic() - start, 20)  # before it searches

    def test_interruption(self):
        self.write_row("dim=64", NARROW)
        before = self.path.read_bytes()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            process = subprocess.Popen(
                [tool_case.tool, "tune", "--device", "0"],
                env={**tool_case.os.environ, "CLATTN_CACHE_DIR": str(self.cache)},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            time.sleep(1.5)
            process.send_signal(number)
            out, _ = process.communicate(timeout=60)
            self.assertEqual((process.returncode, out), (-number, b""))
            self.assertEqual(self.path.read_bytes(), before)
            self.assertEqual([path.name for path in self.cache.glob("tuning*")], ["tuning.txt"])


class File(TuneCase):
    def test_life(self):
        nothing = json.loads(self.run_tune("--show", "--json"))
        self.assertEqual(nothing, {"file": str(self.path), "rows": []})
        self.assertEqual(self.run_tune("--forget"), f"{self.path} does not exist\n")
        self.write_row("dim=64", NARROW)
        row = json.loads(self.run_tune("--show", "--json"))["rows"][0]
        self.assertEqual((row["problems"], row["configuration"], row["speedup"]),
                         ("dim=64", NARROW, 1.25))
        self.assertEqual(row["device"], self.device()["name"])
        self.assertRegex(self.run_tune("--show"),
                         rf"(?s)attention_simd +dim=64 +1\.250  {NARROW} "
                         rf".*1 config[^\n]*{self.path}")
        self.assertEqual(self.run_tune("--forget", "--json"), '{\n\t"removed":\ttrue\n}\n')
        self.assertFalse(self.path.exists())

    def test_no_tuning_file(self):
        self.cache.mkdir(mode=0o700)
        self.path.write_text("something else\n", encoding="utf-8")
        line = self.run_bad(1, "tune", "tune", "--show", CLATTN_CACHE_DIR=str(self.cache))
        self.assertIn("is no tuning file", line)

    def explain(self, **environment):
        self.write_problem((1, 1, 300, 64))
        done = self.run_tool("attention", "--q", "q.npy", "--k", "k.npy", "--v", "v.npy", "--out",
                             "o.npy", "--device", "0", "--explain", "--verify",
                             CLATTN_CACHE_DIR=str(self.cache), **environment)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout.decode()

    def test_use(self):
        self.assertIn("configured: built in\n", self.explain())
        self.write_row("dim=64", NARROW)
        said = self.explain()
        self.assertIn("configured: by the tuning file, dim=64, measured at 1.250 times", said)
        self.assertIn(NARROW, said)
        self.write_row("dim=64", TOO_LARGE)
        said = self.explain(CLATTN_VERBOSE="dispatch")
        self.assertIn("configured: built in\n", said)

    def test_bench(self):
        self.write_row("dim=64", TOO_LARGE)  # of which the log has a line
        words = ["bench", "--device", "0", "--seconds", "0.01", "--shape", "1,1,1,300,300,64"]
        for more in ([], ["--untuned"]):
            done = self.run_tool(*words, *more, CLATTN_CACHE_DIR=str(self.cache),
                                 CLATTN_VERBOSE="dispatch")
            self.assertEqual(done.returncode, 0)
            self.assertEqual(b"does not fit" in done.stderr, not more)


if __name__ == "__main__":
    tool_case.main()

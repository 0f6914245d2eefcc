"""Help, JSON and plain output of every command, and how long the tool takes to start."""

import json
import re
import resource
import time
import unittest

import tool_case
from tool_case import ATTENTION


class Help(tool_case.ToolCase):
    def commands(self):
        return re.findall(r"^  ([a-z]+) ", self.run_good("--help"), re.MULTILINE)

    def test_of_the_program(self):
        self.assertLessEqual({"devices", "attention", "programs", "version"}, set(self.commands()))
        self.assertEqual(self.run_good("--help"), self.run_good("-h"))
        self.assertEqual(self.run_good("--help"), self.run_good("help"))

    def test_of_every_command(self):
        for name in self.commands():
            with self.subTest(command=name):
                said = self.run_good(name, "--help")
                self.assertTrue(said.startswith(f"usage: clattn {name} "), said)
                self.assertIn("--help", said)
                self.assertIn("Exit status:", said)
                self.assertEqual(said, self.run_good(name, "-h"))
                self.assertEqual(self.run_good(name, "-h", "--nonsense"), said)


class Version(tool_case.ToolCase):
    def test(self):
        said = self.run_good("version")
        self.assertRegex(said, r"^clattn \d+\.\d+\.\d+\n$")
        self.assertEqual(self.run_good("--version"), said)
        self.assertEqual(json.loads(self.run_good("version", "--json"))["version"], said.split()[1])


class Devices(tool_case.ToolCase):
    def devices(self, *words):
        return json.loads(self.run_good("devices", "--json", *words))["devices"]

    def test_json(self):
        found = self.devices()
        self.assertGreaterEqual(len(found), 1)
        self.assertEqual([d["index"] for d in found], list(range(len(found))))
        for device in found:
            self.assertIn(device["type"], ("cpu", "gpu", "accelerator", "other"))
            self.assertIn(device["family"], ("simd", "tile"))
            self.assertGreaterEqual(device["compute_units"], 1)
            self.assertGreaterEqual(device["vector_width"], 1)
            self.assertGreater(device["max_allocation"], 0)

    def test_text(self):
        said = self.run_good("devices")
        for device in self.devices():
            self.assertIn(f"{device['index']}: {device['name']}\n", said)
            self.assertIn(device["driver"], said)
            self.assertIn(device["opencl_c"], said)

    def test_selectors(self):
        for device in self.devices():
            index = str(device["index"])
            self.assertEqual(self.devices("--device", index), [device])
            self.assertIn(device, self.devices("--device", device["name"]))
            both = f"{device['platform']}/{device['name']}"
            self.assertIn(device, self.devices("--device", both))
            if device["type"] != "other":
                self.assertIn(device, self.devices("--device", device["type"]))

    def test_measure(self):
        first = self.devices("--device", "0", "--measure")[0]["measured"]
        for name in ("fma_gflops", "read_gbytes", "launch_us", "enqueue_us"):
            self.assertGreater(first[name], 0, name)
        said = self.run_good("devices", "--device", "0", "--measure")
        self.assertRegex(said, r"multiply-add peak +\d+\.\d GF/s")


class Programs(tool_case.ToolCase):
    """The cache, in a folder of its own."""

    def run_programs(self, *words):
        return self.run_good("programs", *words, CLATTN_CACHE_DIR=str(self.folder / "cache"))

    def test_life_of_a_program(self):
        cache = str(self.folder / "cache")
        none = json.loads(self.run_programs("list", "--json"))
        self.assertEqual((none["folder"], none["programs"]), (cache, []))
        self.write_problem((3, 4))
        self.run_good(*ATTENTION, CLATTN_CACHE_DIR=cache)
        found = json.loads(self.run_programs("list", "--json"))["programs"]
        count = len(found)
        self.assertGreater(count, 0)
        self.assertTrue(all(program["valid"] for program in found))
        self.assertIn(found[0]["key"], self.run_programs("list"))
        self.assertIn(f"{count} programs, 0 of them not valid", self.run_programs("verify"))

        entry = self.folder / "cache" / f"{found[0]['key']}.clattn"
        damaged = bytearray(entry.read_bytes())
        damaged[-1] ^= 1
        entry.write_bytes(damaged)
        for words in (("verify",), ("verify", "--json")):
            done = self.run_tool("programs", *words, CLATTN_CACHE_DIR=cache)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr.decode(), rf"^clattn: programs: 1 of {count} [^\n]+\n$")
        self.assertRegex(self.run_programs("list"),
                         rf"(?m)^{found[0]['key']} +{len(damaged)}  checksum differs$")
        listed = json.loads(done.stdout)["programs"]
        damaged_keys = [program["key"] for program in listed if not program["valid"]]
        self.assertEqual(damaged_keys, [found[0]["key"]])

        self.assertEqual(self.run_programs("clear"), f"{count} programs removed\n")
        self.assertEqual(json.loads(self.run_programs("clear", "--json")), {"removed": 0})
        self.assertFalse(entry.exists())


@unittest.skipIf(tool_case.IS_INSTRUMENTED, "times are for a plain build")
class Start(tool_case.ToolCase):
    """From the start of the process to the result on disk."""

    def seconds(self):
        """Of the clock, and of the processor: what other work on the machine doesn't lengthen."""
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        self.run_good(
            *ATTENTION,
            CLATTN_CACHE_DIR=str(self.folder / "programs"),
            POCL_CACHE_DIR=str(self.folder / "pocl"),
        )
        clock, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def test_times(self):
        self.write_problem((1, 12, 14, 32))
        (self.folder / "pocl").mkdir()
        first, first_processor = self.seconds()
        later, later_processor = zip(*(self.seconds() for _ in range(7)))
        print(f"first start {first:.2f} s, later {min(later):.3f} to {max(later):.3f} s")
        self.assertLessEqual(first_processor, 10)
        self.assertLessEqual(min(later_processor), 0.4)
        self.assertLessEqual(min(later), 2)  # nor does it sleep


if __name__ == "__main__":
    tool_case.main()

"""Runs the contenders on one shape after another: checks that all compute the same, drops variants that
are slow, then lets the others take turns."""

import platform
import re
import sys

import data
import results
from turns import Trouble, rounds

QUALIFYING_ROUNDS = 2
# Variants of a contender this much slower than its fastest in the qualifying rounds drop out.
QUALIFYING_FACTOR = 1.3


class Progress:
    """A line on stderr where that is a terminal."""

    def __init__(self, total):
        self.total, self.done, self.shown = total, 0, sys.stderr.isatty()

    def write(self, text):
        if self.shown:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def step(self, shape, what):
        bar = "#" * (20 * self.done // self.total)
        self.write(f"compare [{bar:<20}] {self.done}/{self.total}  {shape}  {what}")

    def note(self, text):
        """A line that stays."""
        self.write("")
        print(f"compare: {text}", file=sys.stderr, flush=True)


def cpu_name():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            return re.search(r"^model name\s*:\s*(.*)$", stream.read(), re.M).group(1)
    except (OSError, AttributeError):
        return platform.processor() or platform.machine()


def instruction_set():
    """The widest vectors; rates mean little without it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            flags = set(re.search(r"^flags\s*:\s*(.*)$", stream.read(), re.M).group(1).split())
    except (OSError, AttributeError):
        return platform.machine()
    return "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else platform.machine()


class Comparison:
    def __init__(self, contenders, settings):
        """contenders: of turns.py. settings: `rounds`, `slice`, `threads`."""
        self.contenders = contenders
        self.settings = settings
        self.about = {one.name: {"peer": not one.name.startswith("clattn"),
                                 "description": one.ask("describe"),
                                 "cpu": f"{cpu_name()} ({instruction_set()})",
                                 "threads": settings.threads} for one in contenders}
        self.failed = False

    def prepare(self, shape, arrays, progress):
        """The contenders that can, each with its variants that compute the right thing. A contender
        that can't, or computes something else, has failed."""
        check, made = data.Check(shape, arrays), {}
        for contender in self.contenders:
            progress.step(shape, f"{contender.name}: prepares")
            try:
                variants = contender.ask("prepare", shape, arrays)
                outputs = [(one, check.error(contender.ask("output", one))) for one in variants]
            except Trouble as trouble:
                self.failed = True
                progress.note(f"{shape}: left out: {trouble}")
                continue
            for variant, (error, good) in outputs:
                if not good:
                    self.failed = True
                    progress.note(f"{shape}: {contender.name}, {variant}: differs by {error:.3g} "
                                  f"ulp, more than {data.TOLERANCE_ULP}")
            made[contender] = dict(outputs)
        return made

    def qualify(self, prepared):
        """Entries (contender, variant) for the rounds: right results first, then fast ones."""
        entries = []
        for contender, outputs in prepared.items():
            right = [one for one, (_, good) in outputs.items() if good] or list(outputs)
            if len(right) > 1:
                least = {one: float("inf") for one in right}
                mine = [(contender, one) for one in right]
                turns = rounds(mine, QUALIFYING_ROUNDS, self.settings.slice)
                for (_, one), fastest, _ in turns:
                    least[one] = min(least[one], fastest)
                bound = QUALIFYING_FACTOR * min(least.values())
                right = [one for one in right if least[one] <= bound]
            contender.ask("keep", right)
            entries += [(contender, one) for one in right]
        return entries

    def measure(self, suite, shape, progress):
        """Rows of one shape."""
        prepared = self.prepare(shape, data.inputs(shape), progress)
        progress.step(shape, "qualifying")
        entries, times = self.qualify(prepared), {}
        turns = rounds(entries, self.settings.rounds, self.settings.slice)
        for number, ((contender, variant), *seconds) in enumerate(turns):
            times.setdefault(contender, {}).setdefault(variant, []).append(seconds)
            progress.step(shape, f"round {number // len(entries) + 1}/{self.settings.rounds}")
        rows = []
        for contender, of_variants in times.items():
            row = results.make_row(suite, shape, contender.name, of_variants,
                                   self.about[contender.name])
            row["error_ulp"], row["agrees"] = prepared[contender][row["variant"]]
            rows.append(row)
        results.add_ratios(rows)
        return rows

    def run(self, shapes):
        """Yields the rows of each (suite, shape)."""
        progress = Progress(len(shapes))
        for suite, shape in shapes:
            rows = self.measure(suite, shape, progress)
            progress.done += 1
            progress.write("")
            yield rows

"""Runs the contenders on one shape after another: checks that all compute the same, drops variants
that are slow, then lets the others take turns."""

import platform
import re
import sys
import time
from typing import NamedTuple

import data
import results
import training
from load import Load
from turns import Trouble, rounds

# By operation: what makes the inputs of a shape, and what checks the results.
PROBLEMS = {"attention": data.problem, **training.PROBLEMS}

# The variants of a contender are tried one after the other, for so many turns each; no more than so
# many go on to the rounds, and those only that are at most so many times as slow as the fastest.
QUALIFYING_TURNS = 2
FINALISTS = 2
FACTOR = 1.25


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


class Finalist(NamedTuple):
    """A variant that takes part in the rounds."""
    error: float
    agrees: bool
    memory: float | None  # bytes that a call needs beside its tensors, where that is counted


class Comparison:
    def __init__(self, contenders, settings):
        """contenders: of turns.py. settings: `rounds`, `slice`, `threads`, `clock`."""
        self.contenders = contenders
        self.settings = settings
        self.turns = settings.slice, settings.threads if settings.clock == "cpu" else None
        self.about = {one.name: {"peer": not one.name.startswith("clattn"),
                                 "description": one.ask("describe"),
                                 "cpu": f"{cpu_name()} ({instruction_set()})",
                                 "clock": settings.clock, "threads": settings.threads}
                      for one in contenders}
        self.failed = False

    def try_variant(self, contender, variant, check):
        """Its seconds, error, and whether it is right; it is gone afterwards."""
        error, good = check.error(contender.ask("build", variant))
        turns = list(rounds([(contender, variant)], QUALIFYING_TURNS, *self.turns))
        contender.ask("drop", variant)
        return min(fastest for _, fastest, _ in turns), error, good

    def choose(self, contender, shape, arrays, check):
        """Variants for the rounds, built, with their error and whether they are right: the right
        ones first, of these the fastest."""
        variants = contender.ask("prepare", shape, arrays)
        if len(variants) == 1:
            return {variants[0]: check.error(contender.ask("build", variants[0]))}
        tried = {one: self.try_variant(contender, one, check) for one in variants}
        right = [one for one in variants if tried[one][2]] or variants
        right.sort(key=lambda one: tried[one][0])
        bound = FACTOR * tried[right[0]][0]
        right = [one for one in right[:FINALISTS] if tried[one][0] <= bound]
        for one in right:
            contender.ask("build", one)
        return {one: tried[one][1:] for one in right}

    def finalists(self, contender, shape, arrays, check):
        """By variant."""
        chosen = self.choose(contender, shape, arrays, check)
        return {one: Finalist(*found, contender.ask("memory", one) if shape.counts_memory else None)
                for one, found in chosen.items()}

    def prepare(self, shape, progress):
        """Finalists by contender that has the operation. Who can't, or computes something else, has
        failed."""
        (arrays, check), made = PROBLEMS[shape.operation](shape), {}
        for contender in self.contenders:
            if shape.operation not in contender.operations:
                continue
            progress.step(shape, f"{contender.name}: prepares")
            try:
                made[contender] = self.finalists(contender, shape, arrays, check)
            except Trouble as trouble:
                self.failed = True
                progress.note(f"{shape}: left out: {trouble}")
                continue
            for variant, found in made[contender].items():
                if not found.agrees:
                    self.failed = True
                    progress.note(f"{shape}: {contender.name}, {variant}: differs by "
                                  f"{found.error:.3g} ulp, more than {check.tolerance}")
        return made

    def measure(self, suite, shape, progress):
        """Rows of one shape."""
        prepared, times = self.prepare(shape, progress), {}
        entries = [(contender, one) for contender, finalists in prepared.items()
                   for one in finalists]
        if not entries:
            return []
        load = Load([one.process.pid for one in self.contenders], time.monotonic)
        turns = rounds(entries, self.settings.rounds, *self.turns)
        for number, ((contender, variant), *seconds) in enumerate(turns):
            times.setdefault(contender, {}).setdefault(variant, []).append(seconds)
            progress.step(shape, f"round {number // len(entries) + 1}/{self.settings.rounds}")
        others, rows = load.others(), []
        for contender, of_variants in times.items():
            row = results.make_row(suite, shape, contender.name, of_variants,
                                   {**self.about[contender.name], "others": others})
            found = prepared[contender][row["variant"]]
            row["error_ulp"], row["agrees"] = found.error, found.agrees
            if found.memory is not None:
                row["memory_bytes"] = found.memory
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

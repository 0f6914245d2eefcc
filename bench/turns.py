"""Contenders that take turns. Each lives in a process of its own, with an environment of its own,
and is stopped (SIGSTOP) whenever it isn't its turn: threads that spin while they wait for work, as
those of OpenMP and of some runtimes do, take no core from the next contender, and libraries that
carry different copies of the same runtime don't meet.

What a contender computes is up to its subject, an object that only exists in its process."""

import atexit
import ctypes
import gc
import importlib
import multiprocessing
import os
import signal
import statistics
import sys
import time

from shapes import EVERYTHING

WARM_UP = 0.01  # seconds of calls that don't count, at the begin of a turn
PR_SET_PDEATHSIG = 1


class Trouble(RuntimeError):
    """A contender failed; the sentence says how."""


class Subject:
    """What is timed, in the contender's process: for each shape some variants, of which only those
    exist that are built, because they may need much memory."""

    def __init__(self):
        self.makers = {}
        self.calls = {}  # of those built: computes once
        self.reads = {}  # of those built: what was computed last

    def describe(self):
        """What it is, with its version."""
        raise NotImplementedError

    def variants(self, shape, arrays):
        """By name, functions without arguments that build a variant and return two more: one that
        computes once, and one that returns what it has computed last."""
        raise NotImplementedError

    def prepare(self, shape, arrays):
        """The names of the variants for this shape; those of the last one are gone."""
        self.calls, self.reads = {}, {}
        self.makers = self.variants(shape, arrays)
        return list(self.makers)

    def build(self, variant):
        """Returns what it computes."""
        self.calls[variant], self.reads[variant] = self.makers[variant]()
        self.calls[variant]()
        return self.reads[variant]()

    def drop(self, variant):
        del self.calls[variant], self.reads[variant]

    def kept_bytes(self, variant):
        """Memory that it keeps between calls, beside inputs and outputs."""
        return 0

    def memory(self, variant):
        """Bytes that a call needs beside inputs and outputs: what it keeps, and by how much the
        process's resident memory is higher at its highest. None where Linux doesn't say it."""
        try:
            with open("/proc/self/clear_refs", "w", encoding="ascii") as stream:
                stream.write("5")  # the highest is the present
            before = resident_bytes("VmRSS")
            self.calls[variant]()
            return self.kept_bytes(variant) + max(0, resident_bytes("VmHWM") - before)
        except OSError:
            return None

    def time(self, variant, seconds, threads=None):
        """Calls for so long, but at least once; the seconds of the fastest and the median call.
        With `threads` seconds are the processor time of all threads, divided by their number."""
        call, clock = self.calls[variant], time.perf_counter
        if threads:
            def clock():
                return time.process_time() / threads
        gc.disable()
        begin = clock()
        call()
        first = clock() - begin
        if first >= seconds:  # long enough that being woken doesn't matter
            gc.enable()
            return first, first
        while clock() - begin < WARM_UP:
            call()
        times, now = [], clock()
        end = now + seconds
        while now < end:
            call()
            before, now = now, clock()
            times.append(now - before)
        gc.enable()
        return min(times), statistics.median(times)


def resident_bytes(key):
    """Of this process: VmRSS, now, or VmHWM, the most there was."""
    with open("/proc/self/status", encoding="utf-8", errors="replace") as stream:
        line = next(line for line in stream if line.startswith(key + ":"))
    return 1024 * int(line.split()[1])


def die_with_parent():
    """A stopped process can't notice that its parent is gone, but Linux can kill it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def answer(subject, method, arguments):
    try:
        return True, getattr(subject, method)(*arguments)
    except Exception as error:  # whatever a library throws is the parent's to report
        return False, f"{type(error).__name__}: {error}"


def work(connection, module, name, arguments):
    """The contender's process: makes the subject, then does what it is asked for."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends everything
    try:
        subject = getattr(importlib.import_module(module), name)(**arguments)
    except Exception as error:
        connection.send((False, f"{type(error).__name__}: {error}"))
        return
    connection.send((True, None))
    while True:
        try:
            method, given = connection.recv()
        except EOFError:
            return
        connection.send(answer(subject, method, given))


class Contender:
    """A subject, "module:Class", in a process of its own. ask() lets it run until it answers."""

    def __init__(self, name, subject, arguments=None, environment=None, operations=EVERYTHING):
        self.name = name
        self.operations = operations
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=work, args=(theirs, *subject.split(":"), arguments or {}), daemon=True)
        kept = dict(os.environ)
        os.environ.update(environment or {})
        try:
            self.process.start()
        finally:
            os.environ.clear()
            os.environ.update(kept)
        theirs.close()
        atexit.register(self.close)
        self.receive()
        self.signal(signal.SIGSTOP)

    def signal(self, number):
        if self.process.is_alive():
            os.kill(self.process.pid, number)

    def receive(self):
        try:
            good, result = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            how = f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
            raise Trouble(f"{self.name}: its process {how}") from None
        if not good:
            raise Trouble(f"{self.name}: {result}")
        return result

    def ask(self, method, *arguments):
        self.signal(signal.SIGCONT)
        try:
            self.connection.send((method, arguments))
        except OSError:
            pass  # its process has ended: receive() says how
        try:
            return self.receive()
        finally:
            self.signal(signal.SIGSTOP)

    def close(self):
        atexit.unregister(self.close)
        self.process.kill()
        self.process.join()
        self.connection.close()


def rounds(entries, count, seconds, threads=None):
    """Lets every entry, a pair (contender, variant), have one turn of so many seconds, as Subject
    has them, in each of `count` rounds; each round begins with another one. Yields entry, fastest,
    median."""
    for number in range(count):
        first = number % len(entries)
        for entry in entries[first:] + entries[:first]:
            contender, variant = entry
            yield entry, *contender.ask("time", variant, seconds, threads)

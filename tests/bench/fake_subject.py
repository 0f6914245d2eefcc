"""A contender without a library, for test_compare.py: what it does is said by its arguments."""

import os
import signal
import threading
import time

from turns import Subject


class Fake(Subject):
    def __init__(self, seconds=0.001, fails_at=None, touches=0):
        super().__init__()
        if fails_at == "start":
            raise ValueError("no such library")
        self.seconds = seconds
        self.fails_at = fails_at
        self.touches = touches  # bytes of memory, in each call
        self.beats = 0

    def describe(self):
        return f"fake with {os.environ.get('FAKE_SETTING', 'nothing set')}"

    def variants(self, shape, arrays):
        if self.fails_at == "prepare":
            raise RuntimeError(f"can't do {shape}")
        if self.fails_at == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return {"quick": lambda: self.sleeper(1), "slow": lambda: self.sleeper(2)}

    def sleeper(self, factor):
        def run():
            memory = bytearray(b"x") * self.touches
            time.sleep(self.seconds * factor)
            del memory
        return run, lambda: factor

    def start_thread(self):
        """Counts as long as it may run, as a thread that spins would."""
        def beat():
            while True:
                self.beats += 1
                time.sleep(0.001)
        threading.Thread(target=beat, daemon=True).start()

    def count(self):
        return self.beats


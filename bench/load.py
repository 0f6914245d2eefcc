"""How much of the processors' time went to work that isn't the comparison's: other programs make
figures wrong, so compare.py says when there were any."""

import os

BUSY_FIELDS = (0, 1, 2, 5, 6)  # of /proc/stat's first line: user, nice, system, irq, softirq


def busy_ticks():
    with open("/proc/stat", encoding="ascii") as stream:
        fields = stream.readline().split()[1:]
    return sum(int(fields[index]) for index in BUSY_FIELDS)


def process_ticks(pid):
    """User and system time of a process; fields 14 and 15, behind the name's parenthesis."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
        fields = stream.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


class Load:
    """From its making on; with the contenders' processes. Says nothing where there is no /proc."""

    def __init__(self, pids, clock):
        self.pids, self.clock = [os.getpid(), *pids], clock
        self.begin = self.read()

    def read(self):
        try:
            ours = sum(process_ticks(pid) for pid in self.pids)
            return self.clock(), busy_ticks() - ours
        except OSError:
            return None

    def others(self):
        """Cores that others kept busy on average, since the object was made; None if not known."""
        now = self.read()
        if not self.begin or not now or now[0] <= self.begin[0]:
            return None
        ticks = (now[1] - self.begin[1]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, ticks / (now[0] - self.begin[0]))

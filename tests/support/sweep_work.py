"""Work that tests of the sweep start in other processes, which import it by its module's name."""

import os
import signal
import time
from pathlib import Path

from kit.errors import TrainingError


def work_on(task, reporter):
    """Runs in another process."""
    kind, folder = task
    reporter.say(f"{kind} begins")
    if kind == "fails":
        raise TrainingError("no\nluck")
    if kind == "breaks":
        raise KeyError("lost")
    if kind == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "waits":
        Path(folder, "pid").write_text(str(os.getpid()))
        time.sleep(600)
    list(reporter.track(range(3), 3, "numbers"))


class Lines:
    def __init__(self):
        self.begun, self.said = [], []

    def begin(self, name):
        self.begun.append(name)

    def say(self, name, line):
        self.said.append((name, line))

    def warn(self, name, line):
        raise AssertionError(line)

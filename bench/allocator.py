"""The allocator model's pace, and a 100 MB snapshot read and replayed: time and memory beside the file and Python's pickle."""
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _common

MODEL, ATHANOR = _common.program("allocator"), os.path.join(_common.BUILD, "athanor")
ROUNDS = 5


def run(command, peaks):
    """Seconds that a child takes; its peak of resident bytes goes into `peaks`."""
    begin = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0, command
    peaks.append(usage.ru_maxrss * 1024)
    return time.perf_counter() - begin


def main():
    paces, ours, theirs = [], [], []

    def pace():
        done = subprocess.run([MODEL, "pace"], capture_output=True, text=True, check=True)
        paces.append(float(done.stdout))
        return 10 / paces[-1]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "snapshot.pickle"
        subprocess.run([MODEL, "make", path, "100"], check=True)
        size = path.stat().st_size
        load = [sys.executable, "-c", f"import pickle; pickle.load(open({str(path)!r}, 'rb'))"]
        seconds = _common.interleaved({
            "10 million events": pace,
            "athanor replay": lambda: run([ATHANOR, "replay", path, "--json"], ours),
            "pickle.load": lambda: run(load, theirs),
        }, ROUNDS)
    per_100_mb = 100e6 / size
    events = statistics.median(paces[1:])
    memory, python_memory = statistics.median(ours[1:]) / size, statistics.median(theirs[1:]) / size
    read, python_read = seconds["athanor replay"] * per_100_mb, seconds["pickle.load"] * per_100_mb
    _common.write("allocator", [
        _common.claim("allocator model, alloc and free events on one core at 10,000 live blocks", events, 10.0, "goal",
                      unit="million events/s", goal=">= 10", met=events >= 10),
        _common.claim("athanor replay of a snapshot: read, replayed and tried under 7 settings, per 100 MB", read, python_read,
                      "Python's pickle.load alone", goal="<= 3 s", met=read <= 3),
        _common.claim("memory of athanor replay, LibTorch's included, against the file's size", memory, python_memory,
                      "Python's pickle.load alone", unit="x file", goal="<= 3", met=memory <= 3),
    ])


if __name__ == "__main__":
    main()

"""The allocator model's pace, and a 100 MB snapshot read and replayed: time and memory beside the file and Python's pickle."""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BUILD = Path(os.environ.get("ATHANOR_BUILD", "build/release"))
BENCH, ATHANOR = BUILD / "bench" / "bench_allocator", BUILD / "athanor"
RESULTS = Path(__file__).parent / "results" / "allocator.json"
ROUNDS = 3


def run(command):
    """Seconds and peak resident bytes of a child."""
    begin = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0, command
    return time.perf_counter() - begin, usage.ru_maxrss * 1024


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "snapshot.pickle"
        subprocess.run([BENCH, "make", path, "100"], check=True)
        size = path.stat().st_size
        load = [sys.executable, "-c", f"import pickle; pickle.load(open({str(path)!r}, 'rb'))"]
        paces, ours, theirs = [], [], []
        for _ in range(ROUNDS):
            paces.append(float(subprocess.run([BENCH, "pace"], capture_output=True, text=True, check=True).stdout))
            ours.append(run([ATHANOR, "replay", path, "--json"]))
            theirs.append(run(load))
        seconds, memory = (statistics.median(x) for x in zip(*ours))
        python_seconds, python_memory = (statistics.median(x) for x in zip(*theirs))
    pace = statistics.median(paces)
    scale = 100e6 / size
    rows = [
        dict(claim="allocator model, alloc and free events on one core at 10,000 live blocks", ours=pace, peer=10.0,
             peer_name="goal", unit="million events/s", ratio=pace / 10.0, goal=">= 10", met=pace >= 10),
        dict(claim="snapshot read, replayed and tried under 7 settings, per 100 MB", ours=seconds * scale, peer=python_seconds * scale,
             peer_name="Python's pickle.load alone", unit="s", ratio=seconds / python_seconds, goal="<= 3 s", met=seconds * scale <= 3),
        dict(claim="memory to read and replay a snapshot, against the file's size", ours=memory / size, peer=python_memory / size,
             peer_name="Python's pickle.load alone", unit="x file", ratio=memory / python_memory, goal="<= 3", met=memory <= 3 * size),
    ]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    for row in rows:
        print(f"{row['claim']}: {row['ours']:.3g} {row['unit']} (peer {row['peer']:.3g}, goal {row['goal']}, met {row['met']})")


if __name__ == "__main__":
    main()

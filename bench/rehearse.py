"""What a rehearsal costs against PyTorch's FakeTensorMode, alone and with MemTracker, in one run, interleaved, medians."""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from _common import BUILD, SOURCE, claim, interleaved, program, write

sys.path.insert(0, os.path.join(SOURCE, "tests", "oracle"))
os.environ.setdefault("ATHANOR_BUILD", BUILD)
import torch  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.distributed._tools.mem_tracker import MemTracker  # noqa: E402

from lent import Phantom  # noqa: E402
from networks import NETWORKS  # noqa: E402

ROUNDS = 3
BATCHES = {"gpt2": 8, "resnet50": 32}
TITLES = {"gpt2": "a steady step of GPT-2 small, 8 x 1024, rehearsed", "resnet50": "a steady step of ResNet-50, 32 x 224 x 224, rehearsed"}
GPT2 = """
[data]
kind = "tokens"
batch_size = 8
[model]
kind = "gpt"
layers = 12
heads = 12
width = 768
block = 1024
vocabulary = 50257
[optimizer]
kind = "adamw"
"""

# A child's peak memory counts what it shares with its parent until it starts its own program; so the parent is small.
LAUNCHER = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
assert status == 0, status
print(time.perf_counter() - start, usage.ru_maxrss / 1024)
"""


class Ours:
    """bench_rehearse times both networks' steps at once."""

    def __init__(self):
        self.milliseconds = {}

    def seconds(self, network):
        if network not in self.milliseconds:
            self.milliseconds = json.loads(subprocess.run([program("rehearse")], capture_output=True, text=True, check=True).stdout)
        return self.milliseconds.pop(network) / 1000


def peer_step(network, tracked):
    """Seconds of the third step on fake tensors; "cuda" is lent to this process, as FakeTensorMode has no backward without."""
    tracker = MemTracker()
    with FakeTensorMode():
        with torch.device("cuda"):
            model = NETWORKS[network][0]()
        optimizer = torch.optim.AdamW(model.parameters())

        def step():
            loss = model(*model.batch(BATCHES[network]))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        for _ in range(2):
            step()
        if not tracked:
            start = time.perf_counter()
            step()
            return time.perf_counter() - start
        tracker.track_external(model, optimizer)
        with tracker:
            start = time.perf_counter()
            step()
            return time.perf_counter() - start


def whole_process():
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(GPT2)
        config.flush()
        command = [sys.executable, "-I", "-S", "-c", LAUNCHER, os.path.join(BUILD, "athanor"), "rehearse", config.name, "--gpu", "A100 80GB", "--json"]
        seconds, mebibytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        return float(seconds), float(mebibytes)


def main():
    phantom = Phantom()
    phantom.begin()
    torch._C._set_only_lift_cpu_tensors(True)
    ours = Ours()
    contestants = {}
    for network in BATCHES:
        contestants[network, "ours"] = lambda network=network: ours.seconds(network)
        contestants[network, "FakeTensorMode"] = lambda network=network: peer_step(network, False)
        contestants[network, "FakeTensorMode with MemTracker"] = lambda network=network: peer_step(network, True)
    medians = interleaved({" ".join(name): run for name, run in contestants.items()}, ROUNDS)
    claims = []
    for network, title in TITLES.items():
        mine = 1000 * medians[f"{network} ours"]
        for peer, factor in (("FakeTensorMode", 30), ("FakeTensorMode with MemTracker", 200)):
            theirs = 1000 * medians[f"{network} {peer}"]
            claims.append(claim(title, mine, theirs, peer, "ms", f"6 ms or less, {factor} times faster", mine <= 6 and theirs >= factor * mine))
    runs = [whole_process() for _ in range(ROUNDS)]
    seconds, memory = (statistics.median(values) for values in zip(*runs))
    claims.append(claim("athanor rehearse GPT-2 small, the whole process", seconds, 1.2, "goal"))
    claims.append(claim("memory of that process", memory, 600.0, "goal", "MiB"))
    write("rehearse", claims)


if __name__ == "__main__":
    main()

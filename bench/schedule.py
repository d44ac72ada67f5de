"""One evaluation of a schedule, and a scheduler's step against PyTorch's Python scheduler in the same run."""
import json
import statistics
import subprocess
import time
import warnings

import _common
import torch

warnings.filterwarnings("ignore")


def python_step(groups, calls, spread=1.0):
    parameters = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 1e-3 * spread**i} for i in range(groups)]
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(torch.optim.SGD(parameters), 10_000)
    begin = time.perf_counter()
    for _ in range(calls):
        scheduler.step()
    return (time.perf_counter() - begin) / calls


STEPPED = {  # our program's name of the figure: what it is, and the same in Python
    "groups_1": ("1 parameter group", lambda: python_step(1, 2000)),
    "groups_100": ("100 parameter groups", lambda: python_step(100, 200)),
    "groups_100_rates": ("100 parameter groups, each of another base rate", lambda: python_step(100, 200, spread=0.99)),
}


def main():
    ours, peers = [], {name: [] for name in STEPPED}
    for _ in range(5):
        ours.append(json.loads(subprocess.check_output([_common.program("schedule")])))
        for name, (_, run) in STEPPED.items():
            peers[name].append(run())
    median = {name: statistics.median(run[name] for run in ours) for name in ours[0]}
    claims = [_common.claim(f"one evaluation of {name}", median[name] * 1e9, limit, "the limit set", "ns")
              for name, limit in (("step", 100.0), ("cosine", 100.0), ("one_cycle", 100.0), ("nested", 1000.0))]
    for name, (what, _) in STEPPED.items():
        claims.append(_common.claim(f"a scheduler's step, {what}", median[name] * 1e6, statistics.median(peers[name]) * 1e6,
                                    "PyTorch's Python CosineAnnealingLR", "µs", goal=1 / 20))
    _common.write("schedule", claims)


if __name__ == "__main__":
    main()

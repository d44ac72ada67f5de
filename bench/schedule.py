"""One evaluation of a schedule, and a scheduler's step against PyTorch's Python scheduler in the same run."""
import json
import statistics
import subprocess
import time
import warnings

import _common
import torch

warnings.filterwarnings("ignore")


def python_step(groups, calls=2000):
    parameters = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 1e-3} for _ in range(groups)]
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(torch.optim.SGD(parameters), 10_000)
    begin = time.perf_counter()
    for _ in range(calls):
        scheduler.step()
    return (time.perf_counter() - begin) / calls


def main():
    ours, peers = [], {1: [], 100: []}
    for _ in range(5):
        ours.append(json.loads(subprocess.check_output([_common.program("schedule")])))
        for groups, times in peers.items():
            times.append(python_step(groups, 2000 if groups == 1 else 200))
    median = {name: statistics.median(run[name] for run in ours) for name in ours[0]}
    claims = [_common.claim(f"one evaluation of {name}", median[name] * 1e9, limit, "the limit set", "ns")
              for name, limit in (("step", 100.0), ("cosine", 100.0), ("one_cycle", 100.0), ("nested", 1000.0))]
    for groups, times in peers.items():
        claims.append(_common.claim(f"a scheduler's step, {groups} parameter group{'s' * (groups > 1)}",
                                    median[f"groups_{groups}"] * 1e6, statistics.median(times) * 1e6,
                                    "PyTorch's Python CosineAnnealingLR", "µs", goal=1 / 20))
    _common.write("schedule", claims)


if __name__ == "__main__":
    main()

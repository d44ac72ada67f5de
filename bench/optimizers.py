"""A step's time of our optimizers against every way PyTorch has, C++ and Python, in one run, interleaved, medians.

Shapes: (a) 1,000 tensors of 1,024, (b) ResNet-50's, (c) 8 tensors of 4 Mi elements; one and two threads.
"""
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

BENCH = Path(os.environ.get("ATHANOR_BUILD", "build/release")) / "bench" / "bench_optimizers"
RESULTS = Path(__file__).parent / "results" / "optimizers.json"
NAMES = {"a": "1,000 tensors of 1,024", "b": "ResNet-50's tensors", "c": "8 tensors of 4 Mi"}
OUTER, INNER = (2, 5) if "--quick" not in sys.argv else (1, 3)


def resnet50():
    shapes = []

    def conv(out, inp, k):
        shapes.extend([(out, inp, k, k), (out,), (out,)])

    conv(64, 3, 7)
    inp = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for block in range(blocks):
            conv(width, inp, 1)
            conv(width, width, 3)
            conv(4 * width, width, 1)
            if block == 0:
                conv(4 * width, inp, 1)
            inp = 4 * width
    return shapes + [(1000, 2048), (1000,)]


def shapes_of(name):
    return {"a": [(1024,)] * 1000, "b": resnet50(), "c": [(1 << 22,)] * 8}[name]


def python_peers(shapes, kind):
    params = [torch.randn(s, requires_grad=True) for s in shapes_of(shapes)]
    for p in params:
        p.grad = torch.randn(p.shape)
    cls, options = (torch.optim.AdamW, {}) if kind == "adamw" else (torch.optim.SGD, {"momentum": 0.9})
    return {f"Python {name}": cls(params, lr=1e-5, **options, **flags)
            for name, flags in [("for-loop", dict(foreach=False)), ("foreach", dict(foreach=True)), ("fused", dict(fused=True))]}


def measure(shapes, kind, threads):
    torch.set_num_threads(threads)
    peers = python_peers(shapes, kind)
    for peer in peers.values():
        peer.step()
    times = {}
    for _ in range(OUTER):
        out = subprocess.run([BENCH, shapes, kind, str(threads), str(INNER)], check=True, capture_output=True, text=True,
                             env={**os.environ, "OMP_NUM_THREADS": str(threads)})
        for name, values in json.loads(out.stdout).items():
            times.setdefault(name, []).extend(values)
        for _ in range(INNER):
            for name, peer in peers.items():
                begin = time.perf_counter()
                peer.step()
                times.setdefault(name, []).append(1e3 * (time.perf_counter() - begin))
    return {name: statistics.median(values) for name, values in times.items()}


def rows(shapes, kind, threads, times):
    ours = times.pop("athanor")
    limit = times.pop("memory bandwidth", None)
    claim = f"{kind} step, {NAMES[shapes]}, {threads} thread{'s' if threads > 1 else ''}"
    fastest = min(times, key=times.get)
    for name, peer in times.items():
        goal = None
        if shapes == "a" and name == "Python fused":
            goal = "at most 1/10"
        elif shapes == "a" and name == "torch::optim":
            goal = "at most 1/40"
        elif shapes != "a" and name == "hand-written OpenMP loop":
            goal = "at most 1/0.95"
        elif shapes != "a" and name == fastest:
            goal = "never behind the fastest"
        bound = {"at most 1/10": 0.1, "at most 1/40": 0.025, "at most 1/0.95": 1 / 0.95, "never behind the fastest": 1.0}
        yield dict(claim=claim, ours=round(ours, 4), peer=round(peer, 4), peer_name=name, unit="ms", ratio=round(ours / peer, 4),
                   goal=goal, met=None if goal is None else ours / peer <= bound[goal])
    if limit:
        yield dict(claim=claim, ours=round(ours, 4), peer=round(limit, 4), peer_name="the same memory traffic without arithmetic",
                   unit="ms", ratio=round(ours / limit, 4), goal=None, met=None)


def main():
    results = []
    for kind in ("adamw", "sgd"):
        for shapes in "abc":
            for threads in (2, 1):
                for row in rows(shapes, kind, threads, measure(shapes, kind, threads)):
                    results.append(row)
                    print(f"{row['claim']:50} ours {row['ours']:8.3f} {row['peer_name']:45} {row['peer']:8.3f} ratio {row['ratio']:.3f}"
                          + ("" if row["goal"] is None else f"  {row['goal']}: {'met' if row['met'] else 'MISSED'}"))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

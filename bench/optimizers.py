"""A step's time of our optimizers against every way PyTorch has, C++ and Python, in one run, interleaved, medians.

Shapes: (a) 1,000 tensors of 1,024, (b) ResNet-50's, (c) 8 tensors of 4 Mi elements; one and two threads. All wait as
`athanor train` has OpenMP's threads wait (docs/design/waiting.md), unless the environment says how.
"""
import json
import os
import statistics
import subprocess
import sys
import time

import torch
from _common import claim, program, write

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
    """Median milliseconds of every contestant: C++ and Python take turns."""
    torch.set_num_threads(threads)
    peers = python_peers(shapes, kind)
    for peer in peers.values():
        peer.step()
    times = {}
    for _ in range(OUTER):
        out = subprocess.run([program("optimizers"), shapes, kind, str(threads), str(INNER)], check=True, capture_output=True,
                             text=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)})
        for name, values in json.loads(out.stdout).items():
            times.setdefault(name, []).extend(values)
        for _ in range(INNER):
            for name, peer in peers.items():
                begin = time.perf_counter()
                peer.step()
                times.setdefault(name, []).append(1e3 * (time.perf_counter() - begin))
    return {name: statistics.median(values) for name, values in times.items()}


def goals(shapes, times):
    """What each peer's ratio is held to."""
    if shapes == "a":
        return {"Python fused": 1 / 10, "torch::optim": 1 / 40, "hand-written OpenMP loop": 1 / 0.95}
    libraries = [name for name in times if name not in ("athanor", "memory bandwidth", "hand-written OpenMP loop")]
    return {min(libraries, key=times.get): 1.0, "hand-written OpenMP loop": 1 / 0.95}


def rows(shapes, kind, threads):
    times = measure(shapes, kind, threads)
    held = goals(shapes, times)
    text = f"{kind} step, {NAMES[shapes]}, {threads} thread{'s' if threads > 1 else ''}"
    for name, peer in times.items():
        if name != "athanor":
            said = "the same memory traffic without arithmetic" if name == "memory bandwidth" else name
            yield claim(text, times["athanor"], peer, said, "ms", held.get(name))


if __name__ == "__main__":
    if "OMP_WAIT_POLICY" not in os.environ and "GOMP_SPINCOUNT" not in os.environ:  # read once, when libgomp is loaded
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "GOMP_SPINCOUNT": "10000"})
    write("optimizers", [row for kind in ("adamw", "sgd") for shapes in "abc" for threads in (2, 1)
                         for row in rows(shapes, kind, threads)])

"""Training steps on a "cuda" that is not there, in a process of their own: `whole_steps.py phantom|watched|fake|tracked`.

Reads cases, a line of JSON each, and writes for each the most bytes that its tensors held at one time (each rounded up to
512), and what was held then. "phantom" is Athanor's, "watched" the same under a dispatch mode, as the others are; "fake" is PyTorch's FakeTensorMode under a count of living storages;
"tracked" is FakeTensorMode under PyTorch's MemTracker.
"""
import collections
import contextlib
import json
import sys
import warnings
import weakref

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import recurrent_shapes
from lent import Phantom, leave
from networks import NETWORKS

STEPS = 2  # the second has the optimizer's state from the start


class Held(TorchDispatchMode):
    """Counts the storages that live on "cuda"."""

    def __init__(self):
        super().__init__()
        self.live, self.now, self.peak, self.held = {}, 0, 0, {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.device.type == "cuda":
                self.see(leaf.untyped_storage(), func)
        return result

    def see(self, storage, func):
        key = storage._cdata
        size = (storage.nbytes() + 511) // 512 * 512
        if key in self.live:
            return
        weakref.finalize(storage, self.gone, key)
        self.live[key] = (size, func._schema.name)
        self.now += size
        if self.now > self.peak:
            self.peak, self.held = self.now, dict(self.live)

    def gone(self, key):
        self.now -= self.live.pop(key)[0]

    def report(self):
        held = collections.defaultdict(collections.Counter)
        for size, name in self.held.values():
            if size:
                held[str(size)][name] += 1
        return {"peak": self.peak, "held": held}


class Scaler(torch.amp.GradScaler):
    def _maybe_opt_step(self, optimizer, state, *args, **kwargs):
        return optimizer.step(*args, **kwargs)  # no value is read: no gradient overflowed


def optimizer_of(case, network):
    kind = torch.optim.SGD if case["optimizer"] == "sgd" else torch.optim.AdamW
    more = {"momentum": 0.9} if case["optimizer"] == "sgd" else {}
    form = case["form"]
    return kind(network.parameters(), lr=1e-3, foreach=form == "foreach", fused=True if form == "fused" else None, **more)


def train(case, begin_step):
    make, batch = NETWORKS[case["network"]]
    with torch.device("cuda"):
        network = make()
    network.train()
    optimizer = optimizer_of(case, network)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(case["precision"])
    scaler = Scaler("cuda") if case["precision"] == "fp16" else None
    for step in range(STEPS):
        begin_step(step + 1)
        x, y = network.batch(batch)
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=dtype) if dtype else contextlib.nullcontext():
            loss = network(x, y)
        if scaler:
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        else:
            loss.backward()
            optimizer.step()


class Watched(TorchDispatchMode):
    """Changes nothing but this: under any mode autograd adds up gradients that meet out of place, on a GPU in place."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def on_phantom(case, phantom):
    phantom.begin()
    train(case, phantom.step)
    return phantom.report()["tensors"]


def on_watched_phantom(case, phantom):
    with Watched():
        return on_phantom(case, phantom)


def without_device_copies():
    """torch.tensor(…, device="cuda") makes its tensor on the host and lets FakeTensorMode move it."""
    torch._C._set_only_lift_cpu_tensors(True)


def on_fake(case, phantom):
    without_device_copies()
    recurrent_shapes.lend()
    held = Held()
    with FakeTensorMode(), held:
        train(case, lambda step: None)
    return held.report()


def on_tracked(case, phantom):
    from torch.distributed._tools.mem_tracker import MemTracker

    without_device_copies()
    tracker = MemTracker()
    with FakeTensorMode(), tracker:
        train(case, lambda step: tracker.reset_mod_stats())
    peak = tracker.get_tracker_snapshot("peak")
    return {"peak": peak[torch.device("cuda:0")]["Total"], "held": {}}


def main():
    warnings.simplefilter("ignore")
    kind = sys.argv[1]
    phantom = Phantom()
    run = {"phantom": on_phantom, "watched": on_watched_phantom, "fake": on_fake, "tracked": on_tracked}[kind]
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line), phantom)), flush=True)


if __name__ == "__main__":
    main()
    leave()

"""Training steps on a "cuda" that is not there, in a process of their own: `whole_steps.py phantom|watched|fake|tracked`.

Reads cases, a line of JSON each, and writes for each the most bytes that its tensors held at one time (each rounded up to
512), and what was held then. "phantom" is Athanor's, "watched" the same under a dispatch mode, as the others are; "fake" is PyTorch's FakeTensorMode under a count of living storages;
"tracked" is FakeTensorMode under PyTorch's MemTracker.
"""
import collections
import contextlib
import functools
import json
import sys
import warnings
import weakref

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import networks
import odd_networks
import recurrent_shapes
from lent import Phantom, leave

NETWORKS = networks.NETWORKS | odd_networks.NETWORKS

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
        # Dropout's seed and offset: PyTorch's Meta kernel makes them on the GPU, the CUDA kernel on the host (attention.cu),
        # as recordings of real GPUs show.
        if storage.nbytes() <= 16 and "efficient_attention" in func._schema.name:
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


def checkpointed(network):
    """Blocks keep their inputs alone, and run again in backward."""
    from torch.utils.checkpoint import checkpoint

    for module in network.modules():
        if isinstance(module, networks.BLOCKS):
            module.forward = functools.partial(checkpoint, module.forward, use_reentrant=False, preserve_rng_state=False)


def channels_last(network):
    """As `.to(memory_format=…)`, which cannot swap FakeTensorMode's parameters."""
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight = torch.nn.Parameter(module.weight.detach().contiguous(memory_format=torch.channels_last))


def train(case, begin_step):
    """What a case may say beside network, optimizer, form and precision: batch, size (of images, or of texts in tokens),
    channels_last, checkpoint, accumulate (how many batches a step has), validate (with a batch this many times as large)."""
    make, batch = NETWORKS[case["network"]]
    batch = case.get("batch", batch)
    with torch.device("cuda"):
        network = make()
    if "size" in case:
        setattr(network, "size" if hasattr(network, "size") else "length", case["size"])
    if case.get("channels_last"):
        channels_last(network)
    if case.get("checkpoint"):
        checkpointed(network)
    optimizer = optimizer_of(case, network)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(case["precision"])
    scaler = Scaler("cuda") if case["precision"] == "fp16" else None

    def batch_of(count):
        x, y = network.batch(count)
        if case.get("channels_last"):
            x = x.to(memory_format=torch.channels_last)
        return x, y

    def loss_of(x, y):
        with torch.autocast("cuda", dtype=dtype) if dtype else contextlib.nullcontext():
            return network(x, y)

    for step in range(STEPS):
        begin_step(step + 1)
        network.train()
        x, y = batch_of(batch)
        optimizer.zero_grad()
        for i in range(case.get("accumulate", 1)):
            if i:
                x, y = batch_of(batch)
            loss = loss_of(x, y)
            (scaler.scale(loss) if scaler else loss).backward()
        if scaler:
            scaler.step(optimizer)
            scaler.update()
        else:
            optimizer.step()
        if case.get("validate"):
            network.eval()
            with torch.no_grad():
                x, y = batch_of(batch * case["validate"])
                loss = loss_of(x, y)


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

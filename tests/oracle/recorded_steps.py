"""Runs a recorded program on the phantom: `recorded_steps.py NAME` prints peaks and the recorded step's events as JSON."""
import contextlib
import json
import sys

import torch
from torch import nn
from torch.nn import functional as F

import recorded
import recorded_cells as cells
import recorded_llama
from lent import Phantom, leave

TORCH = (2, 6)


def autocast(on):
    return torch.autocast("cuda", dtype=torch.bfloat16) if on else contextlib.nullcontext()


def tokens():
    return torch.zeros(4, 128, dtype=torch.long).to("cuda")


def large(phantom, mixed=False, training=False):
    model = recorded.Transformer()
    optimizer = recorded.AdamW(model.parameters())
    batch = tokens()
    phantom.step(1)
    with autocast(mixed):
        logits = model(batch)
        if training:
            loss = recorded.cross_entropy(logits, batch)
            loss.backward()
            optimizer.step()
    return phantom.events(1), phantom.report()


def small(phantom, mixed=False):
    model = recorded.SmallTransformer()
    batch = tokens()
    for step in range(1, 13):
        phantom.step(step)
        with autocast(mixed), torch.no_grad():
            output = model(batch)
        del output
    return phantom.events(12), phantom.report()


def attention(phantom):
    phantom.step(1)
    query, key, value = (torch.randn(8, 4096, 16, device="cuda", requires_grad=True) for _ in range(3))
    output = recorded.small_attend(query, key, value)
    loss = output.sum()
    loss.backward()
    return phantom.events(1), phantom.report()


def kept(events):
    """Where cuDNN's workspace may be, the ledger has a byte."""
    return [event for event in events if abs(event[0]) > 1]


def automaton(program):
    """With the fifteen automata that the process held: three copies of five."""

    @torch.no_grad()
    def run(phantom):
        held = [cells.Cells2d() for _ in range(15)]
        notebook = cells.Notebook()
        runs = 1

        def again(count):
            nonlocal runs
            for runs in range(1, count + 1):
                phantom.step(runs)
                yield runs

        notebook.runs = again
        phantom.step(1)
        program(held[0], notebook)
        return kept(phantom.events(runs)), phantom.report()

    return run


def one_step(automaton, notebook):
    state = torch.zeros(1, 16, 320, 320, device="cuda")
    image = state[:, :3].clone()
    change = automaton.sense(state)
    change = torch.cat([state, change], 1)
    change = automaton.decide(change)
    change = F.relu(change)
    change = automaton.settle(change)
    alive = torch.zeros(1, 1, 320, 320, device="cuda")
    change = change * alive
    hidden = state[:, 3:] + change
    state = torch.cat([image, hidden], 1)


def slide(automaton, notebook):
    notebook.whole_slide(automaton, [(330 << i, 340 << i) for i in (0, 1, 2, 2, 3, 4)], fused=False)


def slide_fused(automaton, notebook):
    notebook.whole_slide(cells.Fused2d("new grid"), [(700 << i, 710 << i) for i in (0, 1, 2, 2, 3, 4)], fused=True)


LARGE = [(n, n) for n in (302, 604, 1208, 1208, 2415, 4830)]
STEPS = [20, 10, 10, 10, 10, 10]


def patches(automaton, notebook):
    fused = cells.Fused2d("new cells")
    notebook.levels(fused, [(20 << i, 20 << i) for i in (0, 1, 2, 2, 3, 4)], STEPS)
    notebook.levels(fused, LARGE, STEPS)


def patch(automaton, notebook):
    notebook.levels(cells.Fused2d("new mask"), LARGE, STEPS)


def again(automaton, notebook):
    """A notebook's cell, run for the second time."""
    for _ in notebook.runs(2):
        notebook.levels(automaton.of_rows(), LARGE, [20, 5, 5, 5, 5, 5])


@torch.no_grad()
def video(phantom):
    coarse, fine = cells.Cells3d(7), cells.Cells3d(3)
    seed = torch.zeros(1, 60, 106, 50, 16, device="cuda")
    phantom.step(1)
    state = coarse(seed, 40)
    state = state.squeeze(0).permute(3, 0, 1, 2).unsqueeze(0)
    state = nn.Upsample(size=(240, 424, 200), mode="nearest")(state)
    state[0, :3] = cells.host(3, 240, 424, 200)
    state = state.permute(0, 2, 3, 4, 1)
    state = fine(state, 20)
    return kept(phantom.events(1)), phantom.report()


def linear(phantom, gradients):
    """The same layer three times, its result kept only with the next."""
    phantom.step(1)
    layer = nn.Linear(10000, 50000, device="cuda")
    with torch.set_grad_enabled(gradients):
        for _ in range(3):
            inputs = torch.randn(5000, 10000, device="cuda")
            output = layer(inputs)
    return phantom.events(1), phantom.report()


def volumes(phantom):
    model = cells.Volumes()
    held = [torch.zeros(6, 320, 320, 24, dtype=torch.half, device="cuda") for _ in range(2)]  # from before
    phantom.step(1)
    out = model.learn(*(cells.host(6, 320, 320, 24, 1).to("cuda") for _ in range(2)))
    del held
    return kept(phantom.events(1)), phantom.report()


def adapters(phantom):
    model = recorded_llama.Llama()
    tokens = torch.zeros(1, 1000, dtype=torch.long).to("cuda")
    phantom.step(1)
    loss, logits = model(tokens)
    loss.backward()
    return phantom.events(1), phantom.report()


FULL = {"cells-slide", "cells-video"}  # their GPU's memory was used up, so that the allocator gave back what it had cached

PROGRAMS = {  # name: (GPU, compute capability, program)
    "large-forward": ("H100", (9, 0), large),
    "large-forward-bf16": ("H100", (9, 0), lambda phantom: large(phantom, mixed=True)),
    "large-step": ("H100", (9, 0), lambda phantom: large(phantom, training=True)),
    "small-forward": ("A100 80GB", (8, 0), small),
    "small-forward-bf16": ("A100 80GB", (8, 0), lambda phantom: small(phantom, mixed=True)),
    "attention": ("A100 80GB", (8, 0), attention),
    "linear": ("H100", (9, 0), lambda phantom: linear(phantom, True)),
    "linear-no-grad": ("H100", (9, 0), lambda phantom: linear(phantom, False)),
    "cells": ("A100 80GB", (8, 0), automaton(one_step)),
    "cells-slide": ("RTX 3090", (8, 6), automaton(slide)),
    "cells-slide-fused": ("A100 80GB", (8, 0), automaton(slide_fused)),
    "cells-patches": ("A100 80GB", (8, 0), automaton(patches)),
    "cells-patch": ("A100 80GB", (8, 0), automaton(patch)),
    "cells-again": ("A100 80GB", (8, 0), automaton(again)),
    "volumes": ("A100 80GB", (8, 0), volumes),
    "adapters": ("A100 80GB", (8, 0), adapters),
    "cells-video": ("RTX 3090", (8, 6), video),
}


def main():
    gpu, capability, program = PROGRAMS[sys.argv[1]]
    phantom = Phantom(gpu=gpu, capability=capability, version=TORCH, limited=sys.argv[1] in FULL)
    phantom.begin()
    events, report = program(phantom)
    print(json.dumps({
        "events": [size for size, _, _ in events],
        "allocated": max(allocated for _, _, allocated in events),
        "peak": {key: report[key] for key in ("requested", "reserved")},
    }))


if __name__ == "__main__":
    main()
    leave()

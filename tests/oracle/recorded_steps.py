"""Runs a recorded program on the phantom: `recorded_steps.py NAME` prints peaks and the recorded step's events as JSON."""
import contextlib
import json
import sys

import torch
from torch import nn
from torch.nn import functional as F

import recorded
from lent import Phantom

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


@torch.no_grad()
def cells(phantom):
    """A step of a cellular automaton: a depthwise convolution senses, pointwise ones decide."""
    sense = nn.Conv2d(16, 16, 3, padding=1, groups=16, padding_mode="reflect", device="cuda")
    decide, settle = nn.Conv2d(32, 64, 1, device="cuda"), nn.Conv2d(64, 13, 1, device="cuda")
    phantom.step(1)
    state = torch.zeros(1, 16, 320, 320, device="cuda")
    image = state[:, :3].clone()
    change = sense(state)
    change = torch.cat([state, change], 1)
    change = decide(change)
    change = F.relu(change)
    change = settle(change)
    alive = torch.zeros(1, 1, 320, 320, device="cuda")
    change = change * alive
    hidden = state[:, 3:] + change
    state = torch.cat([image, hidden], 1)
    # Where cuDNN's workspace may be, the ledger has a byte; here it took none.
    return [event for event in phantom.events(1) if abs(event[0]) > 1], phantom.report()


def linear(phantom, gradients):
    """The same layer three times, its result kept only with the next."""
    phantom.step(1)
    layer = nn.Linear(10000, 50000, device="cuda")
    with torch.set_grad_enabled(gradients):
        for _ in range(3):
            inputs = torch.randn(5000, 10000, device="cuda")
            output = layer(inputs)
    return phantom.events(1), phantom.report()


PROGRAMS = {  # name: (GPU, compute capability, program)
    "large-forward": ("H100", (9, 0), large),
    "large-forward-bf16": ("H100", (9, 0), lambda phantom: large(phantom, mixed=True)),
    "large-step": ("H100", (9, 0), lambda phantom: large(phantom, training=True)),
    "small-forward": ("A100 80GB", (8, 0), small),
    "small-forward-bf16": ("A100 80GB", (8, 0), lambda phantom: small(phantom, mixed=True)),
    "attention": ("A100 80GB", (8, 0), attention),
    "linear": ("H100", (9, 0), lambda phantom: linear(phantom, True)),
    "linear-no-grad": ("H100", (9, 0), lambda phantom: linear(phantom, False)),
    "cells": ("A100 80GB", (8, 0), cells),
}


def main():
    gpu, capability, program = PROGRAMS[sys.argv[1]]
    phantom = Phantom(gpu=gpu, capability=capability, version=TORCH)
    phantom.begin()
    events, report = program(phantom)
    print(json.dumps({"events": [size for size, _ in events], "peak": {k: report[k] for k in ("requested", "allocated", "reserved")}}))


if __name__ == "__main__":
    main()

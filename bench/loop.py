"""The trainer's own cost a step, what bf16 and channels-last save, and what malloc's settings are worth.

Single steps are pinned to one core with one thread; epochs use two threads that wait passively.
"""
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from _common import BUILD, SOURCE, claim, interleaved, program, write
from torch import nn

FASHION = "/usr/share/datasets/fashion-mnist/"
LIMIT = 12800  # images: 100 steps of 128


def step(what, steps):
    """Microseconds a step of the C++ program."""
    words = ["taskset", "-c", "1", program("loop"), what, str(steps)]
    return lambda: float(subprocess.run(words, check=True, capture_output=True).stdout)


def python_step(steps=5000):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    net = nn.Linear(4, 2)
    sgd = torch.optim.SGD(net.parameters(), 0.01)
    x, y = torch.randn(steps, 8, 4), torch.randint(2, (steps, 8))
    begin = time.perf_counter()
    for i in range(steps):
        loss = nn.functional.cross_entropy(net(x[i]), y[i])
        loss.backward()
        sgd.step()
        sgd.zero_grad()
    took = time.perf_counter() - begin
    torch.set_num_threads(threads)
    return took / steps * 1e6


def read(name, offset):
    return np.frombuffer(gzip.open(FASHION + name).read(), np.uint8, offset=offset).copy()


images = (torch.from_numpy(read("train-images-idx3-ubyte.gz", 16)[: LIMIT * 784]).view(-1, 1, 28, 28).float() / 255
          - 0.2860) / 0.3530
labels = torch.from_numpy(read("train-labels-idx1-ubyte.gz", 8)[:LIMIT]).long()


def python_cnn():
    """The network of configs/fashion-cnn.toml in fp32, 100 steps."""
    def stage(a, b):
        return [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)]

    net = nn.Sequential(*stage(1, 32), *stage(32, 64), *stage(64, 128), nn.Flatten(), nn.Linear(1152, 128), nn.ReLU(),
                        nn.Dropout(0.3), nn.Linear(128, 10))
    adam = torch.optim.AdamW(net.parameters(), 1e-3)
    begin = time.perf_counter()
    for rows in torch.randperm(LIMIT).split(128):
        loss = nn.functional.cross_entropy(net(images[rows]), labels[rows])
        adam.zero_grad()
        loss.backward()
        adam.step()
    return time.perf_counter() - begin


def our_cnn(epochs):
    with tempfile.TemporaryDirectory() as folder:
        words = [os.path.join(BUILD, "athanor"), "train", os.path.join(SOURCE, "configs", "fashion-cnn.toml"), "--json",
                 "--quiet", "--out", folder + "/run", "--set", f"train.max_epochs={epochs}", "--set",
                 f"data.limit={LIMIT}", "--set", "data.validation_fraction=0", "--set", "early_stopping.enabled=false"]
        return json.loads(subprocess.run(words, check=True, capture_output=True).stdout)["seconds"]


if __name__ == "__main__":
    rounds = 3 if "--quick" in sys.argv else 5
    us = interleaved({"bare": step("bare", 20000), "trainer": step("trainer", 20000),
                      "everything": step("everything", 20000), "python": python_step,
                      "malloc's defaults": step("cnn-malloc-default", 15), "malloc kept": step("cnn-malloc-kept", 15)},
                     rounds)
    # A run also reads the files and writes its last checkpoint, so an epoch is the difference of runs.
    cnn = interleaved({"ours": lambda: (our_cnn(3) - our_cnn(1)) / 2, "python": python_cnn}, max(2, rounds // 2))
    write("loop", [
        claim("the trainer's own cost, Linear 4→2", us["trainer"], us["bare"], "bare C++ loop", "µs/step",
              "≤ 5 µs more", us["trainer"] - us["bare"] <= 5),
        claim("everything on (progress, CSV, TensorBoard, checkpoints), Linear 4→2", us["everything"], us["python"],
              "bare Python loop", "µs/step", "≤ 60 µs", us["everything"] <= 60),
        claim("fashion-cnn, 100 steps, bf16 and channels-last, everything on", cnn["ours"], cnn["python"],
              "bare Python fp32 loop", "s", 0.5),
        claim("a CNN step with malloc keeping what is freed, one thread", us["malloc kept"], us["malloc's defaults"],
              "malloc's defaults", "µs/step"),
    ])

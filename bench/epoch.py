"""A small job: one epoch of Fashion-MNIST, MLP 784-256-10, batch 128, AdamW. `athanor train` with everything on (progress,
CSV, TensorBoard, checkpoints) against loops by hand in C++ and Python, a DataLoader, Lightning and accelerate, in turns.

Ours is timed as the difference between runs of three epochs and of one, since a run also reads the files, writes its last
checkpoint and tests; the others time their epoch alone, with a warm start. Two threads that wait passively.
"""
import gzip
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import torch
from _common import BUILD, SOURCE, claim, interleaved, program, write
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
torch.set_num_threads(2)
BATCH = 128
FASHION = "/usr/share/datasets/fashion-mnist/"


def read(name, offset):
    return np.frombuffer(gzip.open(FASHION + name).read(), np.uint8, offset=offset).copy()


images = (torch.from_numpy(read("train-images-idx3-ubyte.gz", 16)).view(-1, 1, 28, 28).float() / 255 - 0.2860) / 0.3530
labels = torch.from_numpy(read("train-labels-idx1-ubyte.gz", 8)).long()
loss_of = nn.functional.cross_entropy


def make():
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    return net, torch.optim.AdamW(net.parameters(), 1e-3)


def bare():
    net, optimizer = make()
    start = time.perf_counter()
    order = torch.randperm(len(images))
    for at in range(0, len(images), BATCH):
        rows = order[at : at + BATCH]
        loss = loss_of(net(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def loader():
    return DataLoader(TensorDataset(images, labels), BATCH, shuffle=True)


def with_loader():
    net, optimizer = make()
    batches = loader()
    start = time.perf_counter()
    for x, y in batches:
        loss = loss_of(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def lightning(defaults):
    import lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net, _ = make()

        def training_step(self, batch, _):
            loss = loss_of(self.net(batch[0]), batch[1])
            if defaults:
                self.log("train_loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), 1e-3)

        def on_train_start(self):
            self.began = time.perf_counter()

        def on_train_end(self):
            self.took = time.perf_counter() - self.began

    lean = {} if defaults else dict(logger=False, enable_checkpointing=False, enable_progress_bar=False)
    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", enable_model_summary=False,
                                    default_root_dir=folder, **lean)
        module = Module()
        trainer.fit(module, loader())
    return module.took


def accelerate():
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    net, optimizer, batches = accelerator.prepare(*make(), loader())
    start = time.perf_counter()
    for x, y in batches:
        loss = loss_of(net(x), y)
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
    return time.perf_counter() - start


def cpp(what):
    return lambda: float(subprocess.run([program("epoch"), what], check=True, capture_output=True, text=True).stdout)


def train(epochs):
    with tempfile.TemporaryDirectory() as folder:
        words = [os.path.join(BUILD, "athanor"), "train", os.path.join(SOURCE, "configs", "fashion-mlp.toml"), "--json",
                 "--out", folder + "/run", "--set", f"train.max_epochs={epochs}", "--set", "data.validation_fraction=0",
                 "--set", "early_stopping.enabled=false"]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["seconds"]


def ours():
    return (train(3) - train(1)) / 2


if __name__ == "__main__":
    seconds = interleaved({
        "ours": ours, "C++ bare": cpp("bare"), "C++ sliced": cpp("sliced"), "C++ with our loader": cpp("loader"),
        "Python bare": bare, "Python DataLoader": with_loader, "Lightning": lambda: lightning(False),
        "Lightning, defaults": lambda: lightning(True), "accelerate": accelerate,
    }, rounds=2 if "--quick" in sys.argv else 5)
    text = "One epoch of Fashion-MNIST, MLP 784-256-10, batch 128, everything on"
    write("epoch", [
        claim(text, seconds["ours"], seconds["C++ bare"], "C++ loop by hand", goal=1.15),
        claim(text, seconds["ours"], seconds["C++ sliced"], "C++ loop that gathers no batches", goal=1.15),
        claim(text, seconds["ours"], seconds["Python bare"], "Python loop by hand", goal=1.0),
        claim(text, seconds["ours"], seconds["Python DataLoader"], "Python with a DataLoader", goal=1.0),
        claim(text, seconds["ours"], seconds["Lightning"], "Lightning, all off", goal=0.5),
        claim(text, seconds["ours"], seconds["Lightning, defaults"], "Lightning, its defaults", goal=0.5),
        claim(text, seconds["ours"], seconds["accelerate"], "accelerate", goal=0.5),
        claim("The C++ loop with our loader in place of index_select", seconds["C++ with our loader"],
              seconds["C++ bare"], "C++ loop by hand", goal=1.15),
    ])

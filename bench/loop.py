"""The trainer against the bare loop: its own cost a step, an epoch of Fashion-MNIST, and what malloc's settings are worth.

Interleaved, medians. Single steps are pinned to one core with one thread; epochs use two threads that wait passively.
"""
import gzip
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

SOURCE = Path(__file__).parent.parent
BUILD = Path(os.environ.get("ATHANOR_BUILD", SOURCE / "build" / "bench"))
STEP = BUILD / "bench" / "bench_loop"
PROGRAM = BUILD / "athanor"
ROUNDS = 3 if "--quick" in sys.argv else 5
FASHION = Path("/usr/share/datasets/fashion-mnist")


def step(what, steps=20000):
    return float(subprocess.run(["taskset", "-c", "1", STEP, what, str(steps)], check=True, capture_output=True).stdout)


def python_step(steps=5000):
    torch.manual_seed(1)
    net = torch.nn.Linear(4, 2)
    sgd = torch.optim.SGD(net.parameters(), 0.01)
    x, y = torch.randn(steps, 8, 4), torch.randint(2, (steps, 8))
    begin = time.perf_counter()
    for i in range(steps):
        loss = torch.nn.functional.cross_entropy(net(x[i]), y[i])
        loss.backward()
        sgd.step()
        sgd.zero_grad()
    return (time.perf_counter() - begin) / steps * 1e6


def fashion():
    images = np.frombuffer(gzip.open(FASHION / "train-images-idx3-ubyte.gz").read(), np.uint8, offset=16)
    labels = np.frombuffer(gzip.open(FASHION / "train-labels-idx1-ubyte.gz").read(), np.uint8, offset=8)
    x = (torch.tensor(images.reshape(-1, 1, 28, 28)).float() / 255 - 0.286) / 0.353
    return x, torch.tensor(labels).long()


def python_epoch(make, x, y):
    net = make()
    adam = torch.optim.AdamW(net.parameters(), 1e-3)
    begin = time.perf_counter()
    order = torch.randperm(len(x))
    for i in range(0, len(x), 128):
        rows = order[i:i + 128]
        loss = torch.nn.functional.cross_entropy(net(x[rows]), y[rows])
        adam.zero_grad()
        loss.backward()
        adam.step()
    return time.perf_counter() - begin


def mlp():
    n = torch.nn
    return n.Sequential(n.Flatten(), n.Linear(784, 256), n.ReLU(), n.Linear(256, 10))


def cnn():
    n = torch.nn
    stage = lambda a, b: [n.Conv2d(a, b, 3, padding=1), n.BatchNorm2d(b), n.ReLU(), n.MaxPool2d(2)]
    return n.Sequential(*stage(1, 32), *stage(32, 64), n.Flatten(), n.Linear(3136, 128), n.ReLU(), n.Linear(128, 10))


def our_epoch(config, *more):
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--out", folder + "/run", "--json", "--quiet", "--set", "train.max_epochs=1",
                 "--set", "data.validation_fraction=0", "--set", "early_stopping.enabled=false"]
        done = subprocess.run([PROGRAM, "train", SOURCE / "configs" / config, *flags, *more], check=True, capture_output=True)
        return json.loads(done.stdout)["seconds"]


def claim(text, ours, peer, peer_name, unit, goal, met):
    return dict(claim=text, ours=round(ours, 4), peer=round(peer, 4), peer_name=peer_name, unit=unit,
                ratio=round(ours / peer, 3), goal=goal, met=met)


def main():
    names = ["bare", "trainer", "everything"]
    steps = {name: [] for name in names + ["python", "malloc-default", "malloc-kept"]}
    for _ in range(ROUNDS):
        for name in names:
            steps[name].append(step(name))
        steps["malloc-default"].append(step("cnn-malloc-default", 15))
        steps["malloc-kept"].append(step("cnn-malloc-kept", 15))
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        steps["python"].append(python_step())
        torch.set_num_threads(threads)
    s = {name: statistics.median(values) for name, values in steps.items()}

    x, y = fashion()
    epochs = {name: [] for name in ("mlp", "python mlp", "cnn", "python cnn")}
    for _ in range(max(1, ROUNDS // 2)):
        epochs["mlp"].append(our_epoch("fashion-mlp.toml"))
        epochs["python mlp"].append(python_epoch(mlp, x, y))
        epochs["cnn"].append(our_epoch("fashion-cnn.toml", "--set", "data.limit=12800", "--set", "model.dropout=0"))
        epochs["python cnn"].append(python_epoch(cnn, x[:12800], y[:12800]))
    e = {name: statistics.median(values) for name, values in epochs.items()}

    cost = s["trainer"] - s["bare"]
    claims = [
        claim("the trainer's own cost, Linear 4→2: trainer", s["trainer"], s["bare"], "bare C++ loop", "µs/step",
              "≤ 5 µs more", cost <= 5),
        claim("everything on (progress, CSV, TensorBoard, checkpoints), Linear 4→2", s["everything"], s["python"],
              "bare Python loop", "µs/step", "≤ 60 µs", s["everything"] <= 60),
        claim("an epoch of Fashion-MNIST, MLP 784-256-10, batch 128, everything on", e["mlp"], e["python mlp"],
              "bare Python loop", "s", "≤ 0.9", e["mlp"] / e["python mlp"] <= 0.9),
        claim("fashion-cnn, 100 steps: bf16 channels-last against fp32", e["cnn"], e["python cnn"],
              "bare Python fp32 loop", "s", "≤ 0.5", e["cnn"] / e["python cnn"] <= 0.5),
        claim("a CNN step with malloc keeping what is freed, one thread", s["malloc-kept"], s["malloc-default"],
              "malloc's defaults", "µs/step", "below 1", s["malloc-kept"] < s["malloc-default"]),
    ]
    results = SOURCE / "bench" / "results" / "loop.json"
    results.parent.mkdir(exist_ok=True)
    results.write_text(json.dumps(claims, indent=1, ensure_ascii=False) + "\n")
    for c in claims:
        print(f"{c['claim']}: {c['ours']} against {c['peer']} {c['unit']} ({c['peer_name']}), {c['ratio']}; "
              f"goal {c['goal']}: {'met' if c['met'] else 'not met'}")


if __name__ == "__main__":
    main()

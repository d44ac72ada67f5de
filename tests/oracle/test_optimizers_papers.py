"""The optimizers that PyTorch lacks, against their papers' formulas written plainly, in double precision over 100 steps."""
import json
import math
import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

DRIVER = Path(os.environ.get("ATHANOR_BUILD", "build/release")) / "tests" / "oracle_optimizers"
STEPS = 100
SHAPES = [(), (37,), (5, 7), (2, 3, 4, 4)]


def lion(w, grads, lr, betas, weight_decay, maximize):
    m = torch.zeros_like(w)
    for g in grads:
        g = -g if maximize else g
        c = betas[0] * m + (1 - betas[0]) * g
        w = w - lr * (torch.sign(c) + weight_decay * w)
        m = betas[1] * m + (1 - betas[1]) * g
        yield w


def ademamix(w, grads, lr, betas, alpha, eps, weight_decay, warmup_steps, maximize):
    b1, b2, b3 = betas
    m1, m2, v = (torch.zeros_like(w) for _ in range(3))
    for t, g in enumerate(grads, 1):
        g = -g if maximize else g
        alpha_t, b3_t = alpha, b3
        if warmup_steps:
            alpha_t = min(t * alpha / warmup_steps, alpha)
            part = min(t / warmup_steps, 1)
            b3_t = min(math.exp(math.log(b1) * math.log(b3) / ((1 - part) * math.log(b3) + part * math.log(b1))), b3)
        m1 = b1 * m1 + (1 - b1) * g
        m2 = b3_t * m2 + (1 - b3_t) * g
        v = b2 * v + (1 - b2) * g * g
        m1_hat, v_hat = m1 / (1 - b1**t), v / (1 - b2**t)
        w = w - lr * ((m1_hat + alpha_t * m2) / (v_hat.sqrt() + eps) + weight_decay * w)
        yield w


def schedule_free(w, grads, kind, lr, beta, beta2, eps, weight_decay, warmup_steps, r=0.0, power=2.0):
    """Yields y, where gradients are taken, and at the end x, the average: algorithm 1 with all three sequences kept."""
    x, z, y, v = w.clone(), w.clone(), w.clone(), torch.zeros_like(w)
    total, largest = 0.0, 0.0
    for t, g in enumerate(grads, 1):
        rate = lr * (min(1, t / warmup_steps) if warmup_steps else 1)
        direction = g
        if kind == "adamw":
            v = beta2 * v + (1 - beta2) * g * g
            rate *= math.sqrt(1 - beta2**t)
            direction = g / (v.sqrt() + eps)
        z = z - rate * direction - rate * weight_decay * y
        largest = max(largest, rate)
        weight = t**r * largest**power
        total += weight
        c = weight / total
        x = (1 - c) * x + c * z
        y = (1 - beta) * z + beta * x
        yield y
    yield x


def lamb(w, grads, lr, betas, eps, weight_decay):
    m, v = torch.zeros_like(w), torch.zeros_like(w)
    for t, g in enumerate(grads, 1):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        r = (m / (1 - betas[0] ** t)) / ((v / (1 - betas[1] ** t)).sqrt() + eps) + weight_decay * w
        weights, step = w.norm().item(), r.norm().item()
        trust = weights / step if weights > 0 and step > 0 else 1.0
        w = w - lr * trust * r
        yield w


def lars(w, grads, lr, momentum, weight_decay, trust_coefficient, eps):
    v = torch.zeros_like(w)
    for g in grads:
        weights, slope = w.norm().item(), g.norm().item()
        local = trust_coefficient * weights / (slope + weight_decay * weights + eps) if weights > 0 and slope > 0 else 1.0
        v = momentum * v + lr * local * (g + weight_decay * w)
        w = w - v
        yield w


def adam_mini(w, grads, lr, betas, eps, weight_decay):
    """One second moment for each slice along dimension 0, or for the whole of a vector."""
    m = torch.zeros_like(w)
    rows = w.shape[0] if w.dim() > 1 else 1
    v = torch.zeros(rows, dtype=w.dtype)
    for t, g in enumerate(grads, 1):
        w = w - lr * weight_decay * w
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * (g * g).reshape(rows, -1).mean(1)
        size = (v / (1 - betas[1] ** t)).sqrt() + eps
        w = w - lr * ((m / (1 - betas[0] ** t)).reshape(rows, -1) / size[:, None]).reshape(w.shape)
        yield w


def free(kind, **o):
    if kind == "adamw":
        return lambda w, g: schedule_free(w, g, kind, o["lr"], o["betas"][0], o["betas"][1], o["eps"], o["weight_decay"],
                                          o["warmup_steps"], o.get("r", 0.0))
    return lambda w, g: schedule_free(w, g, kind, o["lr"], o["momentum"], 0, 0, o["weight_decay"], o["warmup_steps"])


CASES = {
    "lion": ("lion", dict(lr=1e-3, betas=[0.9, 0.99], weight_decay=0.1, maximize=False), lion),
    "lion-up": ("lion", dict(lr=1e-2, betas=[0.5, 0.9], weight_decay=0.0, maximize=True), lion),
    "ademamix": ("ademamix", dict(lr=1e-3, betas=[0.9, 0.999, 0.9999], alpha=5.0, eps=1e-8, weight_decay=0.1,
                                  warmup_steps=60, maximize=False), ademamix),
    "ademamix-at_once": ("ademamix", dict(lr=1e-2, betas=[0.8, 0.99, 0.995], alpha=2.0, eps=1e-6, weight_decay=0.0,
                                          warmup_steps=0, maximize=True), ademamix),
    "lamb": ("lamb", dict(lr=1e-2, betas=[0.9, 0.999], eps=1e-6, weight_decay=0.01), lamb),
    "lars": ("lars", dict(lr=0.5, momentum=0.9, weight_decay=0.01, trust_coefficient=1e-2, eps=1e-8), lars),
    "adam_mini": ("adam_mini", dict(lr=1e-2, betas=[0.9, 0.95], eps=1e-8, weight_decay=0.1), adam_mini),
}
for name, kind, o in [
    ("schedule_free_adamw", "adamw", dict(lr=1e-2, betas=[0.9, 0.99], eps=1e-8, weight_decay=0.1, warmup_steps=10)),
    ("schedule_free_adamw-weighted", "adamw", dict(lr=1e-2, betas=[0.95, 0.99], eps=1e-8, weight_decay=0.0, warmup_steps=0, r=1.0)),
    ("schedule_free_sgd", "sgd", dict(lr=0.1, momentum=0.9, weight_decay=0.01, warmup_steps=10)),
]:
    CASES[name] = (name.split("-")[0], o, free(kind, **o))


def problem(seed):
    generator = torch.Generator().manual_seed(seed)
    start = [torch.randn(s, generator=generator, dtype=torch.float64) for s in SHAPES]
    grads = [[torch.randn(s, generator=generator, dtype=torch.float64) * 10.0 ** (t % 3 - 1) for t in range(STEPS)] for s in SHAPES]
    return start, grads


@pytest.fixture(scope="module")
def outs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("papers")
    for seed, (name, (kind, options, _)) in enumerate(CASES.items()):
        start, grads = problem(seed)
        tensors = {f"before.0.param.{i}": w for i, w in enumerate(start)}
        tensors.update({f"grad.{t}.{i}": g for i, row in enumerate(grads) for t, g in enumerate(row)})
        save_file(tensors, folder / f"{name}.in.safetensors")
        description = dict(kind=kind, mode="free", steps=STEPS, layouts=["plain"] * len(SHAPES), eval=kind.startswith("schedule_free"),
                           groups=[dict(options, params=list(range(len(SHAPES))))])
        (folder / f"{name}.json").write_text(json.dumps(description))
    subprocess.run([DRIVER, folder], check=True)
    return {name: (load_file(folder / f"{name}.out.safetensors"), json.loads((folder / f"{name}.out.json").read_text()))
            for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_the_papers_formula(outs, name):
    seed = list(CASES).index(name)
    kind, options, formula = CASES[name]
    out, scalars = outs[name]
    assert "error" not in scalars, scalars["error"]
    start, grads = problem(seed)
    for i, w in enumerate(start):
        named = {} if kind.startswith("schedule_free") else options
        for t, expected in enumerate(formula(w.clone(), grads[i], **named)):
            ours = out[f"after.{t}.{i}"]
            error = ((ours - expected).abs() / expected.abs().clamp(min=1)).max()
            # Schedule-free at the end: x out of y and z, which cancels.
            assert error <= (1e-11 if kind.startswith("schedule_free") else 1e-12), (name, i, t)


def test_state_is_as_small_as_the_documentation_says(outs):
    elements = sum(math.prod(s) for s in SHAPES)
    per_element = {"lion": 8, "ademamix": 24, "lamb": 16, "lars": 8, "schedule_free_adamw": 16, "schedule_free_sgd": 8}
    for name, bytes_each in per_element.items():
        assert outs[name][1]["state_bytes"] == elements * bytes_each
    rows = 1 + 1 + 5 + 2
    assert outs["adam_mini"][1]["state_bytes"] == elements * 8 + rows * 8

"""Every optimizer that PyTorch has, against PyTorch's Python: random settings, shapes and layouts, 100 steps.

fp64: one run, every parameter after every step to 1e-12. fp32: every step from PyTorch's own state, to 2 units in the last
place. State goes over in the middle of a run, both ways, and the run goes on to the same numbers.
"""
import json
import os
import random
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

DRIVER = Path(os.environ.get("ATHANOR_BUILD", "build/release")) / "tests" / "oracle_optimizers"

STEPS = 100
LAYOUTS = ["plain", "plain", "plain", "transposed", "channels_last", "gaps", "plain"]
SHAPES = [(), (0, 3), (37,), (5, 7), (2, 3, 4, 4), (4, 5), (300,)]

betas = [(0.9, 0.999), (0.5, 0.9), (0.0, 0.99)]
decay = [0.0, 0.03]
flag = [False, True]
KINDS = {
    "adam": (torch.optim.Adam, dict(lr=[1e-3, 0.05], betas=betas, eps=[1e-8, 1e-3], weight_decay=decay, amsgrad=flag,
                                    maximize=flag, decoupled_weight_decay=flag)),
    "adamw": (torch.optim.AdamW, dict(lr=[1e-3, 0.05], betas=betas, eps=[1e-8, 1e-3], weight_decay=decay, amsgrad=flag,
                                      maximize=flag)),
    "sgd": (torch.optim.SGD, dict(lr=[1e-2, 0.1], momentum=[0.0, 0.9], dampening=[0.0, 0.3], weight_decay=decay,
                                  nesterov=flag, maximize=flag)),
    "rmsprop": (torch.optim.RMSprop, dict(lr=[1e-3, 0.01], alpha=[0.99, 0.9], eps=[1e-8, 1e-4], weight_decay=decay,
                                          momentum=[0.0, 0.9], centered=flag, maximize=flag)),
    "adagrad": (torch.optim.Adagrad, dict(lr=[1e-2, 0.1], lr_decay=[0.0, 0.01], weight_decay=decay,
                                          initial_accumulator_value=[0.0, 0.1], eps=[1e-10], maximize=flag)),
    "adadelta": (torch.optim.Adadelta, dict(lr=[1.0, 0.1], rho=[0.9, 0.5], eps=[1e-6, 1e-3], weight_decay=decay,
                                            maximize=flag)),
    "adamax": (torch.optim.Adamax, dict(lr=[2e-3, 0.05], betas=betas, eps=[1e-8], weight_decay=decay, maximize=flag)),
    "nadam": (torch.optim.NAdam, dict(lr=[2e-3, 0.05], betas=betas, eps=[1e-8], weight_decay=decay,
                                      momentum_decay=[4e-3, 0.1], decoupled_weight_decay=flag, maximize=flag)),
    "radam": (torch.optim.RAdam, dict(lr=[1e-3, 0.05], betas=betas, eps=[1e-8], weight_decay=decay,
                                      decoupled_weight_decay=flag, maximize=flag)),
    "asgd": (torch.optim.ASGD, dict(lr=[1e-2, 0.1], lambd=[1e-4, 0.01], alpha=[0.75], t0=[1e6, 20.0], weight_decay=decay,
                                    maximize=flag)),
    "rprop": (torch.optim.Rprop, dict(lr=[1e-2, 0.1], etas=[(0.5, 1.2), (0.3, 1.5)], step_sizes=[(1e-6, 50.0), (1e-3, 0.2)],
                                      maximize=flag)),
    "adafactor": (torch.optim.Adafactor, dict(lr=[1e-2, 0.1], beta2_decay=[-0.8, -0.5], d=[1.0, 2.0], weight_decay=decay,
                                              maximize=flag)),
    "muon": (torch.optim.Muon, dict(lr=[1e-3, 0.02], weight_decay=[0.1, 0.0], momentum=[0.95, 0.8], nesterov=flag,
                                    adjust_lr_fn=["original", "match_rms_adamw"])),
}
MATRICES = {"muon"}
# A plan for the runs: (name, mode, dtype, how many random settings a kind)
COMBINATIONS = 6


def settings(kind, rng):
    chosen = {name: rng.choice(values) for name, values in KINDS[kind][1].items()}
    if kind == "sgd" and chosen["nesterov"]:
        chosen.update(momentum=0.9, dampening=0.0)
    return chosen


def shapes_for(kind):
    if kind in MATRICES:
        return [(5, 7), (8, 3), (4, 4)], ["plain", "transposed", "plain"]
    if kind == "adafactor":  # PyTorch's divides by the number of elements
        return [(1, 1) if 0 in s else s for s in SHAPES], LAYOUTS
    return SHAPES, LAYOUTS


def make(kind, params, groups):
    cls = KINDS[kind][0]
    extra = {} if kind == "muon" else {"foreach": False}
    half = len(params) // 2 + 1
    split = [params[:half], params[half:]]
    return cls([dict(params=p, **{**g, **extra}) for p, g in zip(split, groups)]), half


def lay_out(t, layout):
    if layout == "transposed":
        return t.t().contiguous().t()
    if layout == "channels_last":
        return t.contiguous(memory_format=torch.channels_last)
    if layout == "gaps":
        return torch.stack([t, t], -1).select(-1, 0)
    return t.clone()


def record(tensors, prefix, params, optimizer):
    for i, p in enumerate(params):
        tensors[f"{prefix}param.{i}"] = p.detach().clone().contiguous()
    for i, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            if torch.is_tensor(value):
                tensors[f"{prefix}state.{i}.{name}"] = value.detach().clone().contiguous()


def gradients(rng, shapes, dtype, steps):
    """Gradients of very different sizes, some zero, some missing."""
    generator = torch.Generator().manual_seed(rng.randrange(1 << 30))
    grads = []
    for step in range(steps):
        row = []
        for i, shape in enumerate(shapes):
            g = torch.randn(shape, generator=generator, dtype=torch.float64) * 10.0 ** rng.choice([-3, -1, 0, 1])
            if rng.random() < 0.1:
                g = torch.zeros(shape, dtype=torch.float64)
            row.append(None if (i == 2 and rng.random() < 0.2) or (i == 4 and step < 3) else g.to(dtype))
        grads.append(row)
    return grads


def build_case(folder, name, kind, mode, dtype, seed, steps=STEPS, first=0):
    rng = random.Random(seed)
    shapes, layouts = shapes_for(kind)
    torch.set_default_dtype(torch.float64 if dtype == torch.float64 else torch.float32)
    torch.manual_seed(seed)
    groups = [settings(kind, rng), settings(kind, rng)]
    params = [lay_out(torch.randn(s, dtype=torch.float64).to(dtype), l).requires_grad_() for s, l in zip(shapes, layouts)]
    optimizer, half = make(kind, params, groups)
    grads = gradients(rng, shapes, dtype, steps)
    tensors, expected = {}, []
    for step in range(steps):
        if mode == "each" or step == first:
            record(tensors, f"before.{step}.", params, optimizer)
        for p, g, layout in zip(params, grads[step], layouts):
            p.grad = None if g is None else lay_out(g, layout)
        for i, g in enumerate(grads[step]):
            if g is not None:
                tensors[f"grad.{step}.{i}"] = g.contiguous()
        optimizer.step()
        expected.append([p.detach().clone().contiguous() for p in params])
    torch.set_default_dtype(torch.float32)
    indices = [list(range(half)), list(range(half, len(params)))]
    description = dict(kind=kind, mode=mode, steps=steps, first=first, layouts=layouts,
                       groups=[dict(g, params=i) for g, i in zip(groups, indices)])
    save_file(tensors, folder / f"{name}.in.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(description))
    return dict(kind=kind, tensors=tensors, expected=expected, params=params, optimizer=optimizer, groups=groups,
                grads=grads, layouts=layouts)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All cases, written first and run by one call of the driver."""
    folder = tmp_path_factory.mktemp("optimizers")
    cases = {}
    for kind in KINDS:
        for n in range(COMBINATIONS):
            cases[f"{kind}-free-{n}"] = build_case(folder, f"{kind}-free-{n}", kind, "free", torch.float64, 100 + n)
        for n in range(2):
            cases[f"{kind}-each-{n}"] = build_case(folder, f"{kind}-each-{n}", kind, "each", torch.float32, 200 + n)
        cases[f"{kind}-goes_on"] = build_case(folder, f"{kind}-goes_on", kind, "free", torch.float64, 300, first=50)
    subprocess.run([DRIVER, folder], check=True)
    for name, case in cases.items():
        case["scalars"] = json.loads((folder / f"{name}.out.json").read_text())
        case["out"] = load_file(folder / f"{name}.out.safetensors")
    return cases


def outputs(case, step):
    assert "error" not in case["scalars"], case["scalars"]["error"]
    return [case["out"][f"after.{step}.{i}"] for i in range(len(case["params"]))]


@pytest.mark.parametrize("n", range(COMBINATIONS))
@pytest.mark.parametrize("kind", KINDS)
def test_double_precision_to_1e_12_over_100_steps(runs, kind, n):
    case = runs[f"{kind}-free-{n}"]
    # Muon's iteration is in bfloat16, as PyTorch's: its last bits, not the mathematics, decide there.
    tolerance = 2e-2 if kind == "muon" else 1e-12
    for step, expected in enumerate(case["expected"]):
        for i, (ours, theirs) in enumerate(zip(outputs(case, step), expected)):
            error = (ours - theirs).abs() / theirs.abs().clamp(min=1)
            assert ours.numel() == 0 or error.max() <= tolerance, (kind, n, step, i, case["groups"])


def ulp(x):
    return torch.nextafter(x, torch.full_like(x, torch.inf)) - x


@pytest.mark.parametrize("n", range(2))
@pytest.mark.parametrize("kind", KINDS)
def test_single_precision_to_2_ulp_a_step_from_the_same_state(runs, kind, n):
    if kind == "muon":
        pytest.skip("Muon's iteration is in bfloat16")
    case = runs[f"{kind}-each-{n}"]
    # Many roundings one after another, and moments that cancel: PyTorch's own vector and scalar loops differ by as much.
    units = 4 if kind in ("adadelta", "adafactor", "radam") else 2
    for step, expected in enumerate(case["expected"]):
        for i, (ours, theirs) in enumerate(zip(outputs(case, step), expected)):
            before = case["tensors"][f"before.{step}.param.{i}"]
            scale = torch.maximum(torch.maximum(before.abs(), theirs.abs()), (theirs - before).abs())
            assert ((ours - theirs).abs() <= units * ulp(scale)).all(), (kind, n, step, i, case["groups"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_pytorch_goes_on_here(runs, kind):
    case = runs[f"{kind}-goes_on"]
    tolerance = 2e-2 if kind == "muon" else 1e-12
    for step in range(50, STEPS):
        for ours, theirs in zip(outputs(case, step), case["expected"][step]):
            assert ours.numel() == 0 or ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max() <= tolerance


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_from_here_goes_on_in_pytorch(runs, kind):
    """What docs/optimizers.md says in a few lines: our two files as a state_dict()."""
    case = runs[f"{kind}-free-0"]
    state = {}
    for name, tensor in case["out"].items():
        if name.startswith("state."):
            _, index, slot = name.split(".")
            state.setdefault(int(index), {})[slot] = tensor
    torch.set_default_dtype(torch.float64)
    params = [lay_out(case["out"][f"after.{STEPS - 1}.{i}"], l).requires_grad_() for i, l in enumerate(case["layouts"])]
    ours, _ = make(kind, params, case["groups"])
    ours.load_state_dict({"state": state, "param_groups": case["scalars"]["state"]["param_groups"]})
    theirs, reference = case["optimizer"], case["params"]
    generator = torch.Generator().manual_seed(1)
    for _ in range(10):
        for p, q, layout in zip(params, reference, case["layouts"]):
            g = lay_out(torch.randn(p.shape, generator=generator, dtype=torch.float64), layout)
            p.grad, q.grad = g.clone(), g.clone()
        ours.step()
        theirs.step()
    torch.set_default_dtype(torch.float32)
    tolerance = 2e-2 if kind == "muon" else 1e-11
    for p, q in zip(params, reference):
        assert p.numel() == 0 or ((p - q).abs() / q.abs().clamp(min=1)).max() <= tolerance


LBFGS = [dict(lr=1.0, line_search_fn="strong_wolfe"), dict(lr=1e-3, max_iter=10), dict(lr=0.5, line_search_fn="strong_wolfe",
                                                                                        history_size=3, max_iter=7)]


def rosenbrock(params):
    x = torch.cat([p.reshape(-1) for p in params])
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def test_lbfgs_goes_pytorchs_way(tmp_path):
    starts = [torch.tensor([-1.2, 1.0, 0.5], dtype=torch.float64), torch.tensor([[0.3, -0.4], [1.5, 0.1]], dtype=torch.float64)]
    for n, options in enumerate(LBFGS):
        save_file({f"before.0.param.{i}": s for i, s in enumerate(starts)}, tmp_path / f"lbfgs-{n}.in.safetensors")
        given = {k: v for k, v in options.items()}
        (tmp_path / f"lbfgs-{n}.json").write_text(json.dumps(dict(kind="lbfgs", mode="rosenbrock", steps=6, layouts=["plain"] * 2,
                                                                  groups=[dict(given, params=[0, 1])])))
    subprocess.run([DRIVER, tmp_path], check=True)
    for n, options in enumerate(LBFGS):
        out, scalars = load_file(tmp_path / f"lbfgs-{n}.out.safetensors"), json.loads((tmp_path / f"lbfgs-{n}.out.json").read_text())
        assert "error" not in scalars, scalars
        params = [s.clone().requires_grad_() for s in starts]
        optimizer = torch.optim.LBFGS(params, **options)

        def closure():
            optimizer.zero_grad()
            loss = rosenbrock(params)
            loss.backward()
            return loss

        for step in range(6):
            loss = optimizer.step(closure)
            assert abs(scalars["losses"][step] - loss.item()) <= 1e-9 * max(1, loss.item()), (n, step)
            for i, p in enumerate(params):
                assert ((out[f"after.{step}.{i}"] - p).abs() <= 1e-8 * p.abs().clamp(min=1)).all(), (n, step)


def test_sparse_gradients_as_pytorch(tmp_path):
    """sparse_adam, and the sparse paths of sgd and adagrad."""
    kinds = {"sparse_adam": (torch.optim.SparseAdam, dict(lr=0.1, betas=[0.9, 0.99])),
             "sgd": (torch.optim.SGD, dict(lr=0.1, momentum=0.9)), "adagrad": (torch.optim.Adagrad, dict(lr=0.1, lr_decay=0.01))}
    generator = torch.Generator().manual_seed(5)
    start = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    indices = [torch.randint(0, 6, (1, 4), generator=generator) for _ in range(20)]
    values = [torch.randn(4, 3, generator=generator, dtype=torch.float64) for _ in range(20)]
    for kind, (_, options) in kinds.items():
        tensors = {"before.0.param.0": start}
        for t in range(20):
            tensors[f"grad.{t}.0.indices"], tensors[f"grad.{t}.0.values"] = indices[t], values[t]
        save_file(tensors, tmp_path / f"{kind}.in.safetensors")
        (tmp_path / f"{kind}.json").write_text(json.dumps(dict(kind=kind, mode="free", steps=20, layouts=["plain"],
                                                               groups=[dict(options, params=[0])])))
    subprocess.run([DRIVER, tmp_path], check=True)
    for kind, (cls, options) in kinds.items():
        out = load_file(tmp_path / f"{kind}.out.safetensors")
        assert "error" not in (text := (tmp_path / f"{kind}.out.json").read_text()), text
        p = start.clone().requires_grad_()
        optimizer = cls([p], **{k: tuple(v) if isinstance(v, list) else v for k, v in options.items()})
        for t in range(20):
            p.grad = torch.sparse_coo_tensor(indices[t], values[t], p.shape)
            optimizer.step()
            assert ((out[f"after.{t}.0"] - p).abs() <= 1e-12 * p.abs().clamp(min=1)).all(), (kind, t)

"""Every schedule against PyTorch's own Python: 200 random settings a kind, two parameter groups, 5,000 steps.

PyTorch steps most schedules by multiplying the rate of the step before. We evaluate a formula of the step. Where the
recursion is well conditioned both agree to 1e-12 of the value; where PyTorch subtracts nearly equal numbers on the way
(cosine near its floor, a line to zero) the recursion's own error is larger than that, so there the yardstick is PyTorch's closed
form, to 1e-12 of the value, and the recursion to 1e-12 of the largest rate.

Ours are evaluated by one driver process; PyTorch, the slow side, is stepped by as many forked workers as there are cores."""
import gc
import json
import math
import multiprocessing
import os
import random
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as lrs
from torch.optim.swa_utils import SWALR

warnings.filterwarnings("ignore")
DRIVER = Path(os.environ["ATHANOR_BUILD"]) / "tests" / "oracle_schedules"
BASES = [0.1, 3e-4]
TIGHT = 1e-12
STEPS, SETTINGS = 5000, 200


def ours_or_error(cases):
    """Our driver's doubles for all cases, or the message it ended with."""
    text = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run([DRIVER], input=text.encode(), capture_output=True, check=False)
    return np.frombuffer(done.stdout) if done.returncode == 0 else done.stderr.decode().strip()


def ours(cases):
    """All cases in one process. Gives one array [steps, groups + momentum] a case."""
    flat = ours_or_error(cases)
    assert not isinstance(flat, str), flat
    arrays, at = [], 0
    for case in cases:
        steps = len(case["metrics"]) if "metrics" in case else case["steps"]
        width = len(case["base_lrs"]) + 1
        arrays.append(flat[at : at + steps * width].reshape(steps, width))
        at += steps * width
    assert at == len(flat)
    return arrays


def optimizer_of(bases=BASES, kind="sgd"):
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in bases]
    return torch.optim.AdamW(groups) if kind == "adamw" else torch.optim.SGD(groups, lr=1.0, momentum=0.9)


def recursion(make, steps, bases=BASES):
    """The rates PyTorch gives when it is stepped as it is meant to be, and the first group's momentum."""
    optimizer = optimizer_of(bases)
    scheduler = make(optimizer)
    optimizer.step()
    first, rates, momenta = optimizer.param_groups[0], [], []
    for _ in range(steps):
        rates.append(scheduler.get_last_lr())
        momenta.append(first["momentum"])
        if len(rates) < steps:
            scheduler.step()
    return np.column_stack([np.array(rates), momenta])


def closed(make, steps, bases=BASES):
    """PyTorch's closed form of the same schedule."""
    scheduler = make(optimizer_of(bases))
    rows = []
    for step_at in range(steps):
        scheduler.last_epoch = step_at
        rows.append(scheduler._get_closed_form_lr())
    return np.array(rows)


def in_workers(check, cases):
    """check(*case) of every case, shared out to forked processes. Fails with what the first failing ones said."""

    def share(first, count, answers):
        gc.disable()
        failures = []
        for case in cases[first::count]:
            try:
                check(*case)
            except Exception as error:  # told by the parent, an assertion among them
                failures.append(f"{type(error).__name__}: {error}"[:2000])
        answers.put((len(failures), failures[:3]))

    fork = multiprocessing.get_context("fork")
    count, answers = os.cpu_count() or 1, fork.SimpleQueue()
    workers = [fork.Process(target=share, args=(i, count, answers)) for i in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(worker.exitcode == 0 for worker in workers)
    told = [answers.get() for _ in workers]
    assert not any(n for n, _ in told), f"of {len(cases)} failed {sum(n for n, _ in told)}: {[text for _, text in told]}"


def relative(a, b):
    """The largest difference as a part of the value. Less than one rounding of the largest rate is no difference where the value is
    what a subtraction left over (0 against -1e-17), nor is anything below the smallest normal double."""
    scale = np.maximum(np.abs(a), np.abs(b))
    difference = np.abs(a - b)
    counts = (scale > 1e-300) & (difference > np.finfo(float).eps * np.max(np.abs(b), axis=0))
    return float(np.max(np.divide(difference, scale, out=np.zeros_like(scale), where=counts)))


def of_largest(a, b):
    return float(np.max(np.abs(a - b) / np.max(np.abs(b), axis=0)))


def toml(**keys):
    def value(v):
        if isinstance(v, bool):
            return "true" if v else "false"
        if isinstance(v, str):
            return f'"{v}"'
        return repr(v)

    return "\n".join(f"{k} = {value(v)}" for k, v in keys.items() if v is not None)


def lr_range(rng, low=1e-7, high=1.0):
    return math.exp(rng.uniform(math.log(low), math.log(high)))


# One setting a call: (TOML keys, PyTorch's scheduler). Edge values come up on purpose.
def step(rng):
    size, gamma = rng.choice([1, 2, 3, rng.randint(1, 6000)]), rng.choice([0.0, 1.0, 0.7, rng.uniform(0.05, 1.1)])
    gamma = min(gamma, 1.001) if size < 50 else gamma
    return dict(kind="step", step_size=size, gamma=gamma), lambda o: lrs.StepLR(o, size, gamma)


def multi_step(rng):
    stones = [rng.randint(0, 6000) for _ in range(rng.randint(1, 8))]
    stones += rng.choice([[], [0], stones[:2], [stones[0]] * 3])
    gamma = rng.choice([0.1, 1.0, rng.uniform(0.05, 1.5)])
    rng.shuffle(stones)
    return dict(kind="multi_step", milestones=stones, gamma=gamma), lambda o: lrs.MultiStepLR(o, stones, gamma)


def constant(rng):
    factor, total = rng.choice([1.0, 1 / 3, rng.uniform(0.01, 1)]), rng.choice([1, 2, rng.randint(1, 6000)])
    return dict(kind="constant", factor=factor, total_iters=total), lambda o: lrs.ConstantLR(o, factor, total)


def linear(rng):
    start, end = rng.choice([1.0, 1 / 3, rng.uniform(1e-3, 1)]), rng.choice([1.0, 0.0, rng.uniform(0, 1)])
    total = rng.choice([1, 2, 299, 4999, rng.randint(1, 6000)])
    return (dict(kind="linear", start_factor=start, end_factor=end, total_iters=total),
            lambda o: lrs.LinearLR(o, start, end, total))


def exponential(rng):
    gamma = rng.choice([1.0, rng.uniform(0.99, 1.001), rng.uniform(0.5, 1.0)])
    return dict(kind="exponential", gamma=gamma), lambda o: lrs.ExponentialLR(o, gamma)


def polynomial(rng):
    total, power = rng.choice([1, 2, 300, 5000, rng.randint(1, 6000)]), rng.choice([1.0, 0.5, 2.0, rng.uniform(0.1, 4)])
    return dict(kind="polynomial", total_iters=total, power=power), lambda o: lrs.PolynomialLR(o, total, power)


def cosine(rng):
    t_max, floor = rng.choice([1, 2, 3, 299, 5000, rng.randint(1, 9000)]), rng.choice([0.0, 1e-6, lr_range(rng, 1e-9, 2e-4)])
    return dict(kind="cosine_annealing", t_max=t_max, eta_min=floor), lambda o: lrs.CosineAnnealingLR(o, t_max, floor)


def restarts(rng):
    t_0, mult = rng.choice([1, 2, 10, 50, rng.randint(1, 3000)]), rng.choice([1, 2, 3, 5])
    floor = rng.choice([0.0, 1e-6, lr_range(rng, 1e-9, 2e-4)])
    return (dict(kind="cosine_annealing_warm_restarts", t_0=t_0, t_mult=mult, eta_min=floor),
            lambda o: lrs.CosineAnnealingWarmRestarts(o, t_0, mult, floor))


def cyclic(rng):
    base, height = lr_range(rng, 1e-4, 1e-1), rng.uniform(1.01, 20)
    # At least 3 steps a half cycle, so that 5,000 steps stay below the 1,025 cycles at which triangular2 overflows in PyTorch.
    up, down = rng.choice([3, 4, rng.randint(3, 3000)]), rng.choice([None, 3, rng.randint(3, 3000)])
    mode, gamma = rng.choice(["triangular", "triangular2", "exp_range"]), rng.choice([1.0, rng.uniform(0.99, 1.0)])
    momentum = rng.random() < 0.8
    low, top = sorted([rng.uniform(0.5, 0.99), rng.uniform(0.5, 0.99)])
    return (dict(kind="cyclic", base_lr=base, max_lr=base * height, step_size_up=up, step_size_down=down, mode=mode, gamma=gamma,
                 cycle_momentum=momentum, base_momentum=low, max_momentum=top),
            lambda o: lrs.CyclicLR(o, base, base * height, up, down, mode, gamma, None, "cycle", momentum, low, top))


def one_cycle(rng):
    # The schedule is as long as what is asked of it, or longer; step total_steps itself is a known defect.
    total = rng.choice([STEPS, STEPS, STEPS + 1, rng.randint(STEPS, STEPS * 2)])
    pct = rng.choice([0.3, 0.0, 1.0, rng.uniform(0, 1)])
    three = rng.random() < 0.4
    strategy, momentum = rng.choice(["cos", "linear"]), rng.random() < 0.8
    div, final = rng.uniform(1.5, 50), rng.choice([1e4, rng.uniform(1, 1e3)])
    low, top = sorted([rng.uniform(0.5, 0.99), rng.uniform(0.5, 0.99)])
    # The group's own rate is the peak, as PyTorch's list of max_lr.
    return (dict(kind="one_cycle", total_steps=total, pct_start=pct, anneal_strategy=strategy, cycle_momentum=momentum,
                 base_momentum=low, max_momentum=top, div_factor=div, final_div_factor=final, three_phase=three),
            lambda o: lrs.OneCycleLR(o, [g["lr"] for g in o.param_groups], total, None, None, pct, strategy, momentum, low, top,
                                     div, final, three))


def swa(rng):
    rate, epochs = lr_range(rng, 1e-6, 1.0), rng.choice([0, 1, 10, rng.randint(1, 400)])
    strategy = rng.choice(["cos", "linear"])
    return (dict(kind="swa", swa_lr=rate, anneal_epochs=epochs, anneal_strategy=strategy),
            lambda o: SWALR(o, rate, epochs, strategy))


def compare(make, judge):
    """Judges our rates of 200 random settings, in workers: judge(TOML keys, PyTorch's scheduler, our rates)."""
    rng = random.Random(make.__name__)
    settings = [make(rng) for _ in range(SETTINGS)]
    results = ours([dict(spec=toml(**keys), steps=STEPS, base_lrs=BASES) for keys, _ in settings])
    in_workers(judge, [(keys, torchs, mine) for (keys, torchs), mine in zip(settings, results)])


@pytest.mark.parametrize("make", [step, multi_step, constant, exponential, restarts], ids=lambda f: f.__name__)
def test_stepping_to_the_twelfth_digit(make):
    def judge(keys, torchs, mine):
        assert relative(mine[:, :2], recursion(torchs, STEPS)[:, :2]) <= TIGHT, keys
        assert np.isnan(mine[:, 2]).all()

    compare(make, judge)


@pytest.mark.parametrize("make", [cyclic, one_cycle], ids=lambda f: f.__name__)
def test_with_momentum_to_the_twelfth_digit(make):
    def judge(keys, torchs, mine):
        theirs = recursion(torchs, STEPS)
        assert relative(mine[:, :2], theirs[:, :2]) <= TIGHT, keys
        if keys["cycle_momentum"]:
            assert relative(mine[:, 2], theirs[:, 2]) <= TIGHT, keys
        else:
            assert np.isnan(mine[:, 2]).all()

    compare(make, judge)


@pytest.mark.parametrize("make", [linear, polynomial, cosine], ids=lambda f: f.__name__)
def test_closed_form_to_the_twelfth_digit(make):
    def judge(keys, torchs, mine):
        assert relative(mine[:, :2], closed(torchs, STEPS)) <= TIGHT, keys
        # PyTorch's recursion up to the end of its range; past it the cosine's has lost digits for good.
        upto = min(STEPS, keys["t_max"] + 1) if "t_max" in keys else STEPS
        assert of_largest(mine[:upto, :2], recursion(torchs, upto)[:, :2]) <= TIGHT, keys

    compare(make, judge)


def test_swa():
    def judge(keys, torchs, mine):
        assert of_largest(mine[:, :2], recursion(torchs, STEPS)[:, :2]) <= TIGHT, keys

    compare(swa, judge)


def test_functions_of_the_caller():
    names = ["lambda", "multiplicative", "cyclic_scale", "cyclic_scale_iterations"]
    mine = ours([dict(function=name, steps=STEPS, base_lrs=BASES) for name in names])
    scaled = [lambda o, mode=mode: lrs.CyclicLR(o, 1e-3, 1e-1, 17, 5, scale_fn=lambda x: 1.0 / (5.0 + x), scale_mode=mode,
                                                cycle_momentum=True) for mode in ("cycle", "iterations")]
    theirs = [lambda o: lrs.LambdaLR(o, lambda t: 0.95**t), lambda o: lrs.MultiplicativeLR(o, lambda t: 1.0 - 1.0 / (t + 10)),
              *scaled]
    for name, a, make in zip(names, mine, theirs):
        b = recursion(make, STEPS)
        assert relative(a[:, :2], b[:, :2]) <= TIGHT, name
        if name.startswith("cyclic"):
            assert relative(a[:, 2], b[:, 2]) <= TIGHT, name


def test_plateau():
    rng = random.Random("plateau")
    cases, makers = [], []
    for _ in range(SETTINGS):
        mode, threshold_mode = rng.choice(["min", "max"]), rng.choice(["rel", "abs"])
        factor, patience = rng.uniform(0.1, 0.95), rng.choice([0, 1, 3, 10])
        threshold, cooldown = rng.choice([0.0, 1e-4, rng.uniform(0, 0.3)]), rng.choice([0, 1, 7])
        floors, eps = rng.choice([0.0, 1e-5, [1e-3, 1e-6]]), rng.choice([1e-8, 0.0, 1e-4])
        level, metrics = 5.0, []
        for _ in range(STEPS):  # positive, since a negative metric with 'rel' is a known defect
            level = max(0.01, level + rng.gauss(-0.01 if mode == "min" else 0.01, 0.2))
            metrics.append(rng.choice([level, level, round(level, 1), math.inf if mode == "min" else level]))
        per_group = isinstance(floors, list)
        keys = dict(kind="reduce_on_plateau", mode=mode, factor=factor, patience=patience, threshold=threshold,
                    threshold_mode=threshold_mode, cooldown=cooldown, eps=eps,
                    min_lr=None if per_group else floors, min_lrs=floors if per_group else None)
        # Saved and restored in the middle, too.
        cases.append(dict(spec=toml(**keys), base_lrs=BASES, metrics=metrics, resume=rng.randrange(STEPS)))
        makers.append(lambda o, a=(mode, factor, patience, threshold, threshold_mode, cooldown, floors, eps):
                      lrs.ReduceLROnPlateau(o, *a))
    # JSON has no infinity: null.
    text_safe = [dict(case, metrics=[m if math.isfinite(m) else None for m in case["metrics"]]) for case in cases]

    def judge(case, mine, make):
        optimizer = optimizer_of()
        scheduler = make(optimizer)
        rates = []
        for metric in case["metrics"]:
            scheduler.step(metric)
            rates.append(scheduler.get_last_lr())
        assert relative(mine[:, :2], np.array(rates)) <= TIGHT, case["spec"]

    in_workers(judge, list(zip(cases, ours(text_safe), makers)))


def parts_of(rng, upto):
    """Schedules that PyTorch can both chain and put in a sequence, each within `upto` steps."""
    kind = rng.randrange(5)
    total = rng.randint(1, max(1, upto))
    if kind == 0:
        factor = rng.uniform(0.1, 1)
        return dict(kind="constant", factor=factor, total_iters=total), lambda o: lrs.ConstantLR(o, factor, total)
    if kind == 1:
        start = rng.uniform(0.1, 1)
        return (dict(kind="linear", start_factor=start, total_iters=total), lambda o: lrs.LinearLR(o, start, 1.0, total))
    if kind == 2:
        gamma = rng.uniform(0.98, 1.0)
        return dict(kind="exponential", gamma=gamma), lambda o: lrs.ExponentialLR(o, gamma)
    if kind == 3:
        gamma = rng.uniform(0.5, 1.0)
        return dict(kind="step", step_size=total, gamma=gamma), lambda o: lrs.StepLR(o, total, gamma)
    stone = rng.randrange(total)
    return (dict(kind="multi_step", milestones=[stone], gamma=0.5), lambda o: lrs.MultiStepLR(o, [stone], 0.5))


def table(name, keys):
    return f"[[{name}]]\n{toml(**keys)}\n"


def test_sequential_and_chained_as_pytorch_runs_them():
    rng = random.Random("composed")
    cases, makers = [], []
    for _ in range(SETTINGS):
        count = rng.randint(2, 4)
        if rng.random() < 0.5:
            stones = sorted(rng.sample(range(1, STEPS), count - 1))
            stones[0] *= rng.random() < 0.8  # a first part of no length
            spans = [b - a for a, b in zip([0, *stones], [*stones, STEPS])]
            parts = [parts_of(rng, span) for span in spans]
            spec = toml(kind="sequential", milestones=stones) + "\n"
            makers.append(lambda o, p=parts, s=stones: lrs.SequentialLR(o, [make(o) for _, make in p], s))
        else:
            parts = [parts_of(rng, STEPS) for _ in range(count)]
            spec = toml(kind="chained") + "\n"
            makers.append(lambda o, p=parts: lrs.ChainedScheduler([make(o) for _, make in p]))
        spec += "".join(table("parts", keys) for keys, _ in parts)
        cases.append(dict(spec=spec, steps=STEPS, base_lrs=BASES, resume=rng.randrange(STEPS)))

    def judge(case, mine, make):
        assert relative(mine[:, :2], recursion(make, STEPS)[:, :2]) <= TIGHT, case["spec"]

    in_workers(judge, list(zip(cases, ours(cases), makers)))


def inline(v):
    """A value in TOML on one line."""
    if isinstance(v, dict):
        return "{" + ", ".join(f"{k} = {inline(x)}" for k, x in v.items()) + "}"
    if isinstance(v, list):
        return "[" + ", ".join(inline(x) for x in v) + "]"
    return f'"{v}"' if isinstance(v, str) else repr(v)


def test_nested_composition_of_pytorchs_own_leaves():
    """PyTorch 2.15 cannot put a sequence or a chain second in a sequence (test_known_defects), so the whole is put together here
    from its leaves' closed forms: a sequence concatenates, a chain multiplies factors."""
    rng = random.Random("nested")

    def tree(depth, steps):
        """(TOML keys, a function that gives PyTorch's rates)"""
        if depth == 0:
            keys, make = parts_of(rng, steps)
            return keys, lambda: closed(make, steps)
        if rng.random() < 0.5 and steps > 4:
            stone = rng.randint(1, steps - 1)
            (a, left), (b, right) = tree(depth - 1, stone), tree(depth - 1, steps - stone)
            return dict(kind="sequential", milestones=[stone], parts=[a, b]), lambda: np.concatenate([left(), right()])
        (a, left), (b, right) = tree(depth - 1, steps), tree(depth - 1, steps)
        return dict(kind="chained", parts=[a, b]), lambda: left() * right() / np.array(BASES)

    def judge(spec, mine, theirs):
        assert relative(mine[:, :2], theirs()) <= TIGHT, spec

    trees = [tree(rng.randint(2, 4), STEPS) for _ in range(SETTINGS)]
    specs = ["\n".join(f"{k} = {inline(v)}" for k, v in keys.items()) for keys, _ in trees]
    results = ours([dict(spec=spec, steps=STEPS, base_lrs=BASES) for spec in specs])
    in_workers(judge, [(spec, mine, theirs) for spec, mine, (_, theirs) in zip(specs, results, trees)])


def test_pictures_of_the_documentation_are_current(tmp_path):
    source = Path(os.environ["ATHANOR_SOURCE"])
    program = Path(os.environ["ATHANOR_BUILD"]) / "athanor"
    subprocess.run([source / "scripts" / "schedule-pictures", program, tmp_path], check=True)
    made = sorted(path.name for path in tmp_path.glob("*.svg"))
    assert len(made) >= 20
    for name in made:
        assert (tmp_path / name).read_text() == (source / "docs" / "images" / name).read_text(), \
            f"run scripts/schedule-pictures: docs/images/{name} is not what the program draws"

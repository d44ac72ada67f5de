"""Where PyTorch's schedules are wrong, or ours differ on purpose: every row of the table in docs/schedules.md, both values."""
import math

import pytest
from test_schedules import optimizer_of, ours_or_error
from torch.optim import lr_scheduler as lrs


def torch_run(make, steps, lr=0.1):
    """The rates of so many steps, or the name of the error that ended them."""
    optimizer = optimizer_of([lr])
    rates = []
    try:
        scheduler = make(optimizer)
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            scheduler.step()
    except (ArithmeticError, NotImplementedError, ValueError) as error:
        rates.append(type(error).__name__)
    return rates


def our_run(spec, steps, **more):
    """Our rates of so many steps, or the message of the error."""
    asked = dict(function=spec[1:]) if spec.startswith("@") else dict(spec=spec)
    flat = ours_or_error([dict(**asked, steps=steps, base_lrs=[0.1], **more)])
    return flat if isinstance(flat, str) else flat.reshape(-1, 2)[:, 0]


EXP = '{kind = "exponential", gamma = 0.9}'
CHAIN = f'{{kind = "chained", parts = [{EXP}]}}'
SEQUENCE = f'{{kind = "sequential", milestones = [2], parts = [{EXP}, {EXP}]}}'


def exp_of(o):
    return lrs.ExponentialLR(o, 0.9)


def chain_of(o):
    return lrs.ChainedScheduler([exp_of(o)])


def sequence_of(o):
    return lrs.SequentialLR(o, [exp_of(o), exp_of(o)], [2])


def before_or_after(first, second):
    return lambda o: lrs.SequentialLR(o, [first(o), second(o)], [3])


# The rows of the table in docs/schedules.md, base rate 0.1: PyTorch's schedule; at which step; PyTorch's value or error; our
# spec (or a function of the driver, @name); our value, or a word of our error.
DEFECTS = {
    "one_cycle_linear_ends_negative": (lambda o: lrs.OneCycleLR(o, 0.1, 10, anneal_strategy="linear"), 10, -0.014285257142857138,
                                       'kind = "one_cycle"\ntotal_steps = 10\nanneal_strategy = "linear"', 4e-7),
    "one_cycle_without_a_rise": (lambda o: lrs.OneCycleLR(o, 0.1, 10, pct_start=0.1), 0, "ZeroDivisionError",
                                 'kind = "one_cycle"\ntotal_steps = 10\npct_start = 0.1', 0.1),
    "constant_of_no_steps": (lambda o: lrs.ConstantLR(o, 0.5, 0), 3, 0.05, 'kind = "constant"\nfactor = 0.5\ntotal_iters = 0', 0.1),
    "linear_of_no_steps": (lambda o: lrs.LinearLR(o, 0.5, 1.0, 0), 3, 0.05,
                           'kind = "linear"\nstart_factor = 0.5\ntotal_iters = 0', 0.1),
    "constant_from_zero": (lambda o: lrs.ConstantLR(o, 0.0, 2), 2, "ZeroDivisionError",
                           'kind = "constant"\nfactor = 0.0\ntotal_iters = 2', 0.1),
    "polynomial_of_no_steps": (lambda o: lrs.PolynomialLR(o, 0), 3, 0.1, 'kind = "polynomial"\ntotal_iters = 0', "total_iters"),
    "cosine_with_a_high_floor": (lambda o: lrs.CosineAnnealingLR(o, 4, 0.2), 4, 0.2,
                                 'kind = "cosine_annealing"\nt_max = 4\neta_min = 0.2', "eta_min"),
    "cyclic_past_1024_cycles": (lambda o: lrs.CyclicLR(o, 0.1, 0.2, 1, 1, "triangular2"), 2048, "OverflowError",
                                'kind = "cyclic"\nbase_lr = 0.1\nmax_lr = 0.2\nstep_size_up = 1\nmode = "triangular2"', 0.1),
    "chain_with_a_lambda": (lambda o: lrs.ChainedScheduler([lrs.ConstantLR(o, 0.5, 3), lrs.LambdaLR(o, lambda t: 0.9**t)]), 0, 0.1,
                            "@constant_and_lambda", 0.05),
    "chain_first_in_a_sequence": (before_or_after(chain_of, exp_of), 0, 0.09,
                                  f'kind = "sequential"\nmilestones = [3]\nparts = [{CHAIN}, {EXP}]', 0.1),
    "sequence_first_in_a_sequence": (before_or_after(sequence_of, exp_of), 0, 0.09,
                                     f'kind = "sequential"\nmilestones = [3]\nparts = [{SEQUENCE}, {EXP}]', 0.1),
    "chain_second_in_a_sequence": (before_or_after(exp_of, chain_of), 3, "NotImplementedError",
                                   f'kind = "sequential"\nmilestones = [3]\nparts = [{EXP}, {CHAIN}]', 0.1),
    "sequence_second_in_a_sequence": (before_or_after(exp_of, sequence_of), 3, "NotImplementedError",
                                      f'kind = "sequential"\nmilestones = [3]\nparts = [{EXP}, {SEQUENCE}]', 0.1),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_known_defects(name):
    make, step_at, theirs, spec, right = DEFECTS[name]
    upstream = torch_run(make, step_at + 1)[step_at]
    assert upstream == (theirs if isinstance(theirs, str) else pytest.approx(theirs, rel=1e-12))
    rates = our_run(spec, step_at + 1)
    if isinstance(right, str):
        assert isinstance(rates, str) and right in rates
    else:
        assert rates[step_at] == pytest.approx(right, rel=1e-12)


def test_known_defect_a_missed_restart():
    optimizer = optimizer_of([0.1])
    scheduler = lrs.CosineAnnealingWarmRestarts(optimizer, 10, 3)
    scheduler.step(1210)
    assert optimizer.param_groups[0]["lr"] == 0.0
    assert our_run('kind = "cosine_annealing_warm_restarts"\nt_0 = 10\nt_mult = 3', 1211)[1210] == 0.1


def torch_plateau(metrics, **settings):
    optimizer = optimizer_of([0.1])
    scheduler = lrs.ReduceLROnPlateau(optimizer, factor=0.5, **settings)
    for metric in metrics:
        scheduler.step(metric)
    return optimizer.param_groups[0]["lr"]


def test_known_defect_plateau_of_a_negative_metric():
    assert torch_plateau([-1.0] * 8, patience=2, threshold=0.1) == 0.1
    spec = 'kind = "reduce_on_plateau"\nfactor = 0.5\npatience = 2\nthreshold = 0.1'
    assert list(our_run(spec, 0, metrics=[-1.0] * 8)) == [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025]


def test_known_defect_plateau_of_nan():
    assert torch_plateau([1.0, math.nan], patience=0) == 0.05
    said = our_run('kind = "reduce_on_plateau"\nfactor = 0.5\npatience = 0', 0, metrics=[1.0, "nan"])
    assert isinstance(said, str) and "nan" in said.lower()


def test_known_defect_resume_of_a_sequence():
    def make(o):
        return lrs.SequentialLR(o, [lrs.LinearLR(o, 0.1, 1, 4), lrs.ExponentialLR(o, 0.9)], [4])

    optimizer = optimizer_of([0.1])
    scheduler = make(optimizer)
    for _ in range(6):
        scheduler.step()
    saved = scheduler.state_dict(), optimizer.state_dict()
    other = optimizer_of([0.1])
    other.load_state_dict(saved[1])
    resumed = make(other)
    resumed.load_state_dict(saved[0])
    assert other.param_groups[0]["lr"] == pytest.approx(0.01)
    linear_part = '{kind = "linear", start_factor = 0.1, total_iters = 4}'
    spec = f'kind = "sequential"\nmilestones = [4]\nparts = [{linear_part}, {EXP}]'
    assert our_run(spec, 10, resume=6)[6] == pytest.approx(0.081)

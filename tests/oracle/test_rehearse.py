"""The phantom GPU's operators against PyTorch's FakeTensorMode: shapes, strides, dtypes and storage sizes.

The calls are what PyTorch's own operator tests make, forward and backward, recorded on the CPU and asked again of a
CUDA device that is not there: once of FakeTensorMode, once of the phantom.
"""
import collections
import functools
import json
import math
import os
import subprocess
import sys
import types
import unittest
import warnings

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DRIVER = os.path.join(os.environ["ATHANOR_BUILD"], "tests", "oracle_rehearse")

# Operators on which the two differ, and why the phantom is right (or cannot be compared).
EXPLAINED = {
    "aten.masked_scatter_backward.default": "selects by a mask: the phantom wants a bound stated, the oracle invents one",
    "aten._efficient_attention_forward.default": "the CUDA kernel makes dropout's seed and offset on the host (attention.cu)",
    "aten.soft_margin_loss.default": "the reduced loss keeps the storage of the full one (Loss.cpp); the oracle decomposes",
    "aten.smooth_l1_loss.default": "the reduced loss keeps the storage of the full one (Loss.cpp); the oracle decomposes",
}

# Not training on a GPU: CPU-only, sparse, nested, quantised, or made for the compiler.
FOREIGN = ("mkldnn", "sparse", "nested", "quantize", "_cpu", "jagged", "prims", "_histogramdd", "_assert", "resolve_", "lift", "special_")


def operator_database():
    stand_in = types.ModuleType("expecttest")  # what PyTorch's test utilities import and these tests do not need
    stand_in.TestCase = unittest.TestCase
    stand_in.assert_expected_inline = None
    sys.modules.setdefault("expecttest", stand_in)
    from torch.testing._internal.common_methods_invocations import op_db

    return op_db


class Recorder(TorchDispatchMode):
    """Keeps up to three different calls of each ATen operator, as shapes."""

    def __init__(self):
        super().__init__()
        self.calls = collections.defaultdict(dict)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if str(func).startswith("aten.") and len(self.calls[func]) < 3:
            form = lambda a: (
                torch.empty_strided(a.shape, a.stride(), dtype=a.dtype, device="meta") if isinstance(a, torch.Tensor) else a
            )
            key = str(tree_map(lambda a: (a.shape, a.dtype, a.stride()) if isinstance(a, torch.Tensor) else a, (args, kwargs)))
            self.calls[func].setdefault(key[:2000], tree_map(form, (args, kwargs)))
        return func(*args, **kwargs)


def recorded_calls():
    recorder = Recorder()
    for op in operator_database():
        if not op.dtypes:
            continue
        dtype = torch.float32 if torch.float32 in op.dtypes else sorted(op.dtypes, key=str)[0]
        try:
            samples = op.sample_inputs("cpu", dtype, requires_grad=op.supports_autograd and dtype.is_floating_point)
            for i, sample in enumerate(samples):
                if i == 2:
                    break
                with recorder:
                    leaves = tree_flatten(op(sample.input, *sample.args, **sample.kwargs))[0]
                    losses = [o.sum() for o in leaves if isinstance(o, torch.Tensor) and o.requires_grad]
                    losses = [loss for loss in losses if loss.dtype.is_floating_point]
                    if losses:
                        sum(losses).backward()
        except Exception:  # noqa: BLE001 - what PyTorch cannot run here has nothing to compare
            continue
    return recorder.calls


def unusual_calls():
    """What the operator tests do not reach on a CPU."""
    aten = torch.ops.aten
    t = lambda *shape, dtype=torch.float32: torch.empty(shape, dtype=dtype, device="meta")
    half = lambda *shape: t(*shape, dtype=torch.bfloat16)
    starts = lambda n: t(n + 1, dtype=torch.int32)
    key = t(2, dtype=torch.uint64)
    for args in ((half(2, 70, 4, 64), half(2, 90, 4, 64), half(2, 90, 4, 64), None, None, 70, 90),
                 (half(150, 4, 64), half(200, 4, 64), half(200, 4, 64), starts(3), starts(3), 60, 80)):
        yield aten._flash_attention_forward.default, (*args, 0.0, True, False), {}
        out, sums = half(*args[0].shape), t(4, 150) if args[3] is not None else t(2, 4, 70)
        yield aten._flash_attention_backward.default, (
            args[0], *args[:3], out, sums, *args[3:], 0.0, True, t(2, dtype=torch.uint64), key), {}
    q, k = t(2, 70, 4, 32), t(2, 90, 4, 32)
    for bias in (None, t(2, 4, 70, 90)):
        yield aten._efficient_attention_forward.default, (q, k, k, bias, None, None, None, None, 0.0, 0, True), {}
    scalar = t(dtype=torch.int64)
    yield aten._efficient_attention_backward.default, (
        q, q, k, k, t(2, 4, 70, 90), q, None, None, 70, 90, t(2, 4, 96), 0.0, scalar, scalar, 0, True), {}
    yield aten._efficient_attention_backward.default, (
        q, q, q, q, t(2, 4, 70, 70), q, None, None, 70, 70, t(2, 4, 96), 0.0, scalar, scalar, 0, True), {
            "shared_storage_dqdkdv": True}
    yield aten._philox_key_split.default, (key, 5), {}
    yield aten._philox_key_fold_in.default, (key, 5), {}
    flag, one = t(1, dtype=torch.int64), t(1)
    yield aten._fused_moving_avg_obs_fq_helper.default, (
        t(4, 6), flag, flag, one, one, one, t(1, dtype=torch.int32), 0.01, 0, 255, 0), {}
    yield aten._slow_conv2d_backward.output_mask, (
        t(2, 8, 6, 6), t(2, 3, 8, 8), t(8, 3, 3, 3), [3, 3], [1, 1], [0, 0], [True, True, True]), {}
    x, per_channel = t(4, 6), t(6)
    yield aten._aminmax.dim, (x, 1, True), {}
    yield aten._masked_softmax.default, (x, t(4, 6, dtype=torch.bool), 1, 2), {}


def is_out(argument):
    return argument.kwarg_only and argument.alias_info is not None and argument.alias_info.is_write


def out_forms(func):
    """Overloads that are `func` with out= arguments, of those that are served so."""
    name = func._schema.name.removeprefix("aten::")
    wanted = [(a.name, str(a.type)) for a in func._schema.arguments]
    for base in (name, name.removeprefix("_")):
        packet = getattr(torch.ops.aten, base, None)
        for overload in packet.overloads() if packet else ():
            form = getattr(packet, overload)
            rest = [(a.name, str(a.type)) for a in form._schema.arguments if not is_out(a)]
            if f"{base}.{overload}" in served_by_functional_form() and rest == wanted:
                yield form


@functools.cache
def served_by_functional_form():
    program = os.path.join(os.environ["ATHANOR_BUILD"], "athanor")
    said = json.loads(subprocess.run([program, "rehearse", "--coverage", "--json"], capture_output=True, check=True).stdout)
    return {row["op"] for row in said["operators"] if row["service"] == "out"}


def is_foreign(func):
    name = func._schema.name
    return any(word in name for word in FOREIGN)


def number(value):
    return value if math.isfinite(value) else ("nan" if math.isnan(value) else "inf" if value > 0 else "-inf")


def as_json(value):
    if isinstance(value, torch.Tensor):
        return {"tensor": [list(value.shape), list(value.stride()), str(value.dtype)[6:]]}
    if isinstance(value, bool) or value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, float):
        return {"float": number(value)}
    if isinstance(value, complex):
        return {"complex": [number(value.real), number(value.imag)]}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value)[6:]}
    if isinstance(value, torch.device):
        return {"device": "cuda:0"}
    if isinstance(value, torch.layout):
        return {"enum": 0}
    if isinstance(value, torch.memory_format):
        order = [torch.contiguous_format, torch.preserve_format, torch.channels_last, torch.channels_last_3d]
        return {"enum": order.index(value)}
    if isinstance(value, (list, tuple)):
        return [as_json(v) for v in value]
    raise TypeError(type(value))


def positional(func, args, kwargs):
    values = []
    for i, argument in enumerate(func._schema.arguments):
        if i < len(args):
            values.append(args[i])
        elif argument.name in kwargs:
            values.append(kwargs[argument.name])
        else:
            values.append(argument.default_value if argument.has_default_value() else None)
    return values


def described(result):
    rows = []
    for leaf in tree_flatten(result, is_leaf=lambda x: x is None)[0]:
        if isinstance(leaf, torch.Tensor):
            cuda = leaf.device.type == "cuda"
            rows.append([list(leaf.shape), list(leaf.stride()), str(leaf.dtype)[6:], leaf.untyped_storage().nbytes(), cuda])
        else:
            rows.append(None if leaf is None else "value")
    return rows


def expected(func, args, kwargs):
    with FakeTensorMode(), torch.no_grad():
        there = lambda a: (
            torch.empty_strided(a.shape, a.stride(), dtype=a.dtype, device="cuda:0") if isinstance(a, torch.Tensor)
            else torch.device("cuda:0") if isinstance(a, torch.device) else a
        )
        args, kwargs = tree_map(there, (args, kwargs))
        result = func(*args, **kwargs)
        return described(result)


def comparisons():
    warnings.simplefilter("ignore")
    cases = []
    calls = [(func, args, kwargs) for func, some in recorded_calls().items() for args, kwargs in some.values()]
    for func, args, kwargs in [*calls, *unusual_calls()]:
        if is_foreign(func):
            continue
        try:
            values = [as_json(v) for v in positional(func, args, kwargs)]
            rows = expected(func, args, kwargs)
        except Exception:  # noqa: BLE001 - FakeTensorMode does not know it, or it depends on values
            continue
        cases.append((func, values, rows))
        # Results of the same shapes, in tensors that are given and empty.
        for form in out_forms(func):
            given = iter([{"tensor": [[0], [1], row[2]]} for row in rows if isinstance(row, list)])
            named = dict(zip([a.name for a in func._schema.arguments], values))
            cases.append((form, [next(given, None) if is_out(a) else named[a.name] for a in form._schema.arguments], rows))
    lines = [json.dumps({"op": f._schema.name + (f".{f._schema.overload_name}" if f._schema.overload_name else ""),
                         "args": values}) for f, values, _ in cases]
    answer = subprocess.run([DRIVER], input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr[-2000:]
    answers = [json.loads(line) for line in answer.stdout.splitlines()]
    assert len(answers) == len(cases)
    return [(str(f), values, want, got) for (f, values, want), got in zip(cases, answers)]


# Strides of sizes 0 and 1 mean nothing; FakeTensorMode and kernels write different ones.
def normal(row):
    if not isinstance(row, list):
        return row
    sizes, strides, dtype, _, cuda = row
    empty = 0 in sizes
    return [sizes, [0 if size <= 1 or empty else stride for size, stride in zip(sizes, strides)], dtype, cuda]


def storage_bytes(row):
    return row[3] if isinstance(row, list) else None


def difference(want, got):
    if "error" in got:
        return got["error"]
    if want == [None] and got["results"] == []:
        return ""
    if [normal(r) for r in want] != [normal(r) for r in got["results"]]:
        return f"expected {want}, got {got['results']}"
    for w, g in zip(want, got["results"]):
        if isinstance(w, list) and w[4] and storage_bytes(w) != storage_bytes(g):
            return f"storage: expected {w}, got {g}"
    return ""


@pytest.fixture(scope="module")
def compared():
    return comparisons()


def test_operators_make_what_the_oracle_says(compared):
    wrong = [(op, values, why) for op, values, want, got in compared
             if (why := difference(want, got)) and op not in EXPLAINED]
    text = "\n".join(f"{op}: {why}\n    {json.dumps(values)[:300]}" for op, values, why in wrong)
    assert not wrong, f"{len(wrong)} of {len(compared)} calls differ:\n{text}"


def test_out_forms_are_among_them(compared):
    forms = {op for op, *_ in compared if op.removeprefix("aten.") in served_by_functional_form()}
    assert len(forms) >= 40, sorted(served_by_functional_form() - {op.removeprefix("aten.") for op in forms})


def test_there_are_many_of_them(compared):
    right = {op for op, values, want, got in compared if not difference(want, got)}
    assert len(right) >= 300, len(right)


def test_explanations_are_needed(compared):
    differing = {op for op, values, want, got in compared if difference(want, got)}
    assert set(EXPLAINED) <= differing, set(EXPLAINED) - differing

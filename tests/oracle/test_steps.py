"""Whole training steps: the phantom's peak of tensor bytes is FakeTensorMode's, which PyTorch makes on its own."""
import pytest
import torch

import odd_networks
from compare_steps import differences, random_cases, run
from networks import NETWORKS

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a process with a real GPU has no room for the phantom")

CASES = [dict(zip(("network", "optimizer", "form", "precision"), case.split())) for case in (
    "resnet18 sgd foreach fp32",
    "mobilenet_v2 adamw fused bf16",
    "convnext adamw single fp32",
    "vit adamw foreach fp16",
    "bert sgd foreach fp32",
    "llama adamw fused bf16",
    "lstm sgd foreach fp32",
    "gru adamw single fp32",
)]

CASES += [dict(network=name, optimizer="sgd", form="single", precision="fp32") for name in odd_networks.NETWORKS]


def copied_weights(network):
    """FakeTensorMode cannot lay a recurrent layer's weights in one buffer, so they are copied into one at each call."""
    if network not in ("lstm", "gru"):
        return 0
    with torch.device("meta"):
        model = NETWORKS[network][0]()
    return sum(4 * p.numel() for name, p in model.named_parameters() if name.startswith(("body.lstm", "body.gru")))


@pytest.fixture(scope="module")
def compared():
    return list(zip(CASES, run("watched", CASES), run("fake", CASES)))


@pytest.mark.parametrize("index", range(len(CASES)), ids=["-".join(case.values()) for case in CASES])
def test_peak_is_the_oracles(compared, index):
    case, ours, theirs = compared[index]
    assert "error" not in ours and "error" not in theirs, (ours.get("error"), theirs.get("error"))
    assert ours["peak"] == theirs["peak"] - copied_weights(case["network"]), differences(ours, theirs)


def test_random_steps_are_the_oracles():
    cases = list(random_cases(6, seed=7))
    for case, ours, theirs in zip(cases, run("watched", cases), run("fake", cases)):
        assert "error" not in ours and "error" not in theirs, (case, ours.get("error"), theirs.get("error"))
        assert ours["peak"] == theirs["peak"], (case, differences(ours, theirs))


def test_the_tracker_counts_as_we_do():
    """MemTracker's own count of the first case is the one the other tests compare with."""
    assert run("tracked", CASES[:1])[0]["peak"] == run("fake", CASES[:1])[0]["peak"]


def test_fewer_bytes_where_gradients_meet_in_place():
    """Without a mode that watches, autograd adds gradients up in place, as on a GPU: never more, here less."""
    plain, watched = run("phantom", CASES[:1])[0], run("watched", CASES[:1])[0]
    assert plain["peak"] < watched["peak"]

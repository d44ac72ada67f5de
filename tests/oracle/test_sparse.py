"""Sparse gradients on the phantom GPU: what PyTorch's CPU makes of them, tensor by tensor."""
import json
import os
import subprocess
import sys

import pytest
import torch

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a process with a real GPU has no room for the phantom")

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sparse_steps.py")


def said(where):
    done = subprocess.run([sys.executable, SCRIPT, where], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def both():
    return said("cpu"), said("phantom")


def test_gradients_and_states_are_the_cpus(both):
    cpu, phantom = both
    assert len(cpu) == 24
    for case, answer in cpu.items():
        assert not isinstance(answer, str), (case, answer)
        assert phantom[case] == answer, case

"""What athanor train writes, read by others: weights by PyTorch, logs by TensorBoard; and a killed run against one
that was not."""
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

PROGRAM = Path(os.environ["ATHANOR_BUILD"]) / "athanor"
FASHION = Path("/usr/share/datasets/fashion-mnist")
CONFIG = """
[run]
name = "small"
threads = 1
[data]
kind = "idx-images"
batch_size = 100
limit = 3000
validation_fraction = 0.1
[model]
kind = "mlp"
hidden = [32]
dropout = 0.2
[optimizer]
kind = "adamw"
lr = 1e-3
[train]
max_epochs = 4
ema_decay = 0.9
[log]
every_steps = 5
[early_stopping]
patience = 3
"""
pytestmark = pytest.mark.skipif(not FASHION.exists(), reason="dataset-fashion-mnist is not installed")


def train(folder, *flags, code=0):
    config = folder / "small.toml"
    if not config.exists():
        config.write_text(CONFIG)
    done = subprocess.run([PROGRAM, "train", config, *flags], cwd=folder, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    outcome = json.loads(train(folder, "--json").stdout)
    return folder / "runs" / "small", outcome


def python_twin(weights):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    linear = [name for name in weights if name.endswith("weight")]
    assert len(linear) == 2
    order = sorted(linear, key=lambda name: weights[name].shape[0] == 10)
    names = [name for weight in order for name in (weight, weight.replace("weight", "bias"))]
    net.load_state_dict(dict(zip(net.state_dict(), (weights[name] for name in names))))
    return net, names


def fashion_test():
    import gzip
    import numpy as np

    images = np.frombuffer(gzip.open(FASHION / "t10k-images-idx3-ubyte.gz").read(), np.uint8, offset=16)
    labels = np.frombuffer(gzip.open(FASHION / "t10k-labels-idx1-ubyte.gz").read(), np.uint8, offset=8)
    return torch.tensor(images.reshape(-1, 1, 28, 28)).float() / 255, torch.tensor(labels).long()


def test_outcome_has_the_keys_of_the_contract(finished):
    run, outcome = finished
    assert set(outcome) == {"status", "reason", "steps", "epochs", "best", "final", "seconds", "run_dir"}
    assert outcome["status"] == "finished" and outcome["epochs"] == 4
    assert set(outcome["best"]) == {"metric", "value", "epoch"}
    whole = json.loads((run / "run.json").read_text())
    assert whole["status"] == "finished" and whole["seed"] == 17


def test_weights_load_in_python_and_give_the_same_accuracy(finished):
    run, outcome = finished
    net, _ = python_twin(load_file(run / "best.safetensors"))
    images, labels = fashion_test()
    limit = 3000
    config = (run / "config.toml").read_text()
    mean, std = [float(part) for part in normalisation(run)]
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(net((images - mean) / std), labels).item()
    test_loss = outcome["final"]["test_loss"]
    if "limit = 3000" in config:
        # The test split may be limited too: compare on what the program says it tested.
        candidates = [torch.nn.functional.cross_entropy(net(((images - mean) / std)[:n]), labels[:n]).item()
                      for n in (limit, len(labels))]
        assert min(abs(value - test_loss) for value in candidates + [loss]) < 2e-3


def normalisation(run):
    text = json.loads((run / "run.json").read_text())["data"]
    mean = text.split("mean ")[1].split(",")[0]
    std = text.split("std ")[1].split(",")[0].strip()
    return mean, std


def test_weights_from_python_load_in_a_checkpoint(finished, tmp_path):
    """The other way round: weights saved by Python, put into a checkpoint with its manifest mended, are trained on."""
    import hashlib
    import shutil

    run, _ = finished
    copy = tmp_path / "runs" / "small"
    shutil.copytree(run, copy)
    newest = sorted((copy / "checkpoints").iterdir())[-1]
    weights = load_file(newest / "model.safetensors")
    save_file({name: torch.zeros_like(value) for name, value in weights.items()}, newest / "model.safetensors")
    manifest = json.loads((newest / "MANIFEST.json").read_text())
    content = (newest / "model.safetensors").read_bytes()
    manifest["files"]["model.safetensors"] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (newest / "MANIFEST.json").write_text(json.dumps(manifest))
    done = train(tmp_path, "--resume", "--set", "train.max_epochs=5", "--set", "train.ema_decay=0.9", "--json")
    assert json.loads(done.stdout)["epochs"] == 5


def test_tensorboard_reads_the_events(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, outcome = finished
    events = EventAccumulator(str(run))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert {"train/loss", "train/lr", "val/loss", "val/accuracy", "test/accuracy"} <= set(tags)
    losses = events.Scalars("val/loss")
    assert [event.step for event in losses] == [27, 54, 81, 108]
    rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()[1:]]
    csv = {(int(step), split, name): float(value) for step, _, split, name, value in rows}
    for event in losses:
        assert event.value == pytest.approx(csv[event.step, "val", "loss"], rel=1e-6)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_resumes_to_the_same_bits(finished, tmp_path, how):
    run, _ = finished
    (tmp_path / "small.toml").write_text(CONFIG)
    flags = ["--set", "checkpoint.every_steps=7"]
    process = subprocess.Popen([PROGRAM, "train", "small.toml", *flags], cwd=tmp_path, stderr=subprocess.PIPE)
    checkpoints = tmp_path / "runs" / "small" / "checkpoints"
    for _ in range(2000):
        if list(checkpoints.glob("step-*/MANIFEST.json")):
            break
        time.sleep(0.001)
    process.send_signal(how)
    code = process.wait()
    assert code in ({signal.SIGINT: (130, 0), signal.SIGTERM: (143, 0), signal.SIGKILL: (-9, 0)}[how])
    train(tmp_path, "--resume", *flags)
    ours = load_file(sorted(checkpoints.iterdir())[-1] / "model.safetensors")
    theirs = load_file(sorted((run / "checkpoints").iterdir())[-1] / "model.safetensors")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)

    def rows(folder):
        return {line for line in (folder / "metrics.csv").read_text().splitlines() if "items_per_second" not in line}

    ours_rows, theirs_rows = rows(tmp_path / "runs" / "small"), rows(run)
    assert {row for row in ours_rows if ",val," in row} == {row for row in theirs_rows if ",val," in row}


def spins(tmp_path, **environment):
    """What the program's OpenMP says of itself: the count it spins for before a thread sleeps."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run([PROGRAM, "train", tmp_path / "absent.toml"], capture_output=True, text=True,
                          env=inherited | {"OMP_DISPLAY_ENV": "verbose"} | environment)
    assert done.returncode == 1 and "absent.toml" in done.stderr
    return re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)[-1]


def test_idle_threads_sleep_soon_unless_the_user_says_otherwise(tmp_path):
    assert int(spins(tmp_path)) <= 10_000
    assert spins(tmp_path, GOMP_SPINCOUNT="77") == "77"
    assert int(spins(tmp_path, OMP_WAIT_POLICY="active")) > 1_000_000

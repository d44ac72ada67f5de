"""What a rehearsal costs against PyTorch's FakeTensorMode, alone and with MemTracker, in one run, interleaved, medians.

FakeTensorMode's backward needs a driver for "cuda", so the peers run the same step on fake CPU tensors: as many operators,
as many allocations. Models are plain torch.nn in both languages.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

BUILD = Path(os.environ.get("ATHANOR_BUILD", "build/bench"))
RESULTS = Path(__file__).parent / "results" / "rehearse.json"
RUNS = 3

GPT = """
[data]
kind = "tokens"
batch_size = 8
[model]
kind = "gpt"
layers = 12
heads = 12
width = 768
block = 1024
vocabulary = 50257
[optimizer]
kind = "adamw"
"""


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc, self.out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        n, t, c = x.shape
        q, k, v = (z.view(n, t, self.heads, -1).transpose(1, 2) for z in self.attn(self.ln_1(x)).split(c, 2))
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(n, t, c))
        return x + self.out(nn.functional.gelu(self.fc(self.ln_2(x))))


class Gpt(nn.Module):
    def __init__(self, layers=12, heads=12, width=768, block=1024, vocabulary=50257):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(block, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.ln = nn.LayerNorm(width)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        return self.ln(self.blocks(x)) @ self.wte.weight.t()


class Bottleneck(nn.Module):
    def __init__(self, inp, width, stride):
        super().__init__()
        out = 4 * width
        conv = lambda i, o, k, s: nn.Conv2d(i, o, k, s, k // 2, bias=False)
        self.body = nn.Sequential(conv(inp, width, 1, 1), nn.BatchNorm2d(width), nn.ReLU(), conv(width, width, 3, stride),
                                  nn.BatchNorm2d(width), nn.ReLU(), conv(width, out, 1, 1), nn.BatchNorm2d(out))
        self.short = nn.Sequential(conv(inp, out, 1, stride), nn.BatchNorm2d(out)) if stride > 1 or inp != out else nn.Identity()

    def forward(self, x):
        return torch.relu(self.body(x) + self.short(x))


def resnet50():
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inp = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            layers.append(Bottleneck(inp, 64 << stage, 2 if stage and not block else 1))
            inp = 256 << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


def fake_step(name, tracked):
    """Seconds of the third step."""
    with FakeTensorMode():
        model = Gpt() if name == "gpt" else resnet50()
        optimizer = torch.optim.AdamW(model.parameters())

        def step():
            if name == "gpt":
                x = torch.zeros(8, 1024, dtype=torch.long)
                y = torch.zeros(8, 1024, dtype=torch.long)
                loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
            else:
                loss = nn.functional.cross_entropy(model(torch.zeros(32, 3, 224, 224)), torch.zeros(32, dtype=torch.long))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        for _ in range(2):
            step()
        if not tracked:
            start = time.perf_counter()
            step()
            return time.perf_counter() - start
        from torch.distributed._tools.mem_tracker import MemTracker

        tracker = MemTracker()
        tracker.track_external(model, optimizer)
        with tracker:
            start = time.perf_counter()
            step()
            return time.perf_counter() - start


def ours():
    text = subprocess.run([BUILD / "bench" / "bench_rehearse"], capture_output=True, text=True, check=True).stdout
    return json.loads(text)


# A child's peak memory counts what it shares with its parent until it starts its own program; so the parent is small.
LAUNCHER = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
assert status == 0, status
print(time.perf_counter() - start, usage.ru_maxrss / 1024)
"""


def whole_process():
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(GPT)
        config.flush()
        command = [sys.executable, "-I", "-S", "-c", LAUNCHER, BUILD / "athanor", "rehearse", config.name, "--gpu", "A100 80GB", "--json"]
        seconds, mebibytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        return float(seconds), float(mebibytes)


def main():
    times = {(name, kind): [] for name in ("gpt", "resnet") for kind in ("ours", "fake", "tracked")}
    process = []
    for _ in range(RUNS):
        for name, milliseconds in ours().items():
            times[name, "ours"].append(milliseconds)
        for name in ("gpt", "resnet"):
            times[name, "fake"].append(1000 * fake_step(name, False))
            times[name, "tracked"].append(1000 * fake_step(name, True))
        process.append(whole_process())
    rows = []
    titles = {"gpt": "a steady step of GPT-2 small, 8 x 1024, rehearsed", "resnet": "a steady step of ResNet-50, 32 x 224 x 224, rehearsed"}
    for name, title in titles.items():
        mine = statistics.median(times[name, "ours"])
        for kind, peer, factor in (("fake", "FakeTensorMode", 30), ("tracked", "FakeTensorMode with MemTracker", 200)):
            theirs = statistics.median(times[name, kind])
            rows.append(dict(claim=title, ours=round(mine, 3), peer=round(theirs, 1), peer_name=peer, unit="ms",
                             ratio=round(mine / theirs, 5), goal=f"6 ms or less, {factor} times faster",
                             met=mine <= 6 and theirs >= factor * mine))
    seconds = statistics.median(s for s, _ in process)
    memory = statistics.median(m for _, m in process)
    rows.append(dict(claim="athanor rehearse GPT-2 small, the whole process", ours=round(seconds, 3), peer=None, peer_name="none", unit="s",
                     ratio=None, goal="1.2 s or less", met=seconds <= 1.2))
    rows.append(dict(claim="memory of that process", ours=round(memory, 1), peer=None, peer_name="none", unit="MiB", ratio=None,
                     goal="600 MiB or less", met=memory <= 600))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()

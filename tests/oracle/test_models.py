"""The built-in models against the same architectures written plainly in Python: weights go both ways through
safetensors, and outputs and gradients agree. Also safetensors files themselves, against Python's package."""
import math
import os
import subprocess

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

DRIVER = os.path.join(os.environ["ATHANOR_BUILD"], "tests", "oracle_models")


def driver(*words):
    done = subprocess.run([DRIVER, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Mlp(nn.Module):
    def __init__(self, widths, activation):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        self.activation = activation

    def forward(self, x):
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


class Cnn(nn.Module):
    def __init__(self, channels, image, widths, hidden, classes, norm=True, kernel=3):
        super().__init__()
        self.stages = nn.ModuleList()
        for width in widths:
            stage = nn.Module()
            stage.conv = nn.Conv2d(channels, width, kernel, padding="same", bias=not norm)
            if norm:
                stage.norm = nn.BatchNorm2d(width)
            self.stages.append(stage)
            channels, image = width, image // 2
        features = channels * image * image
        if hidden:
            self.hidden = nn.Linear(features, hidden)
        self.head = nn.Linear(hidden or features, classes)

    def forward(self, x):
        for stage in self.stages:
            x = stage.conv(x)
            if hasattr(stage, "norm"):
                x = stage.norm(x)
            x = F.max_pool2d(F.relu(x), 2)
        x = x.flatten(1)
        if hasattr(self, "hidden"):
            x = F.relu(self.hidden(x))
        return self.head(x)


class ResBlock(nn.Module):
    def __init__(self, from_, width, stride, kernels, expansion, project):
        super().__init__()
        to = width * expansion
        self.count = len(kernels)
        ends = [from_] + [width] * (self.count - 1) + [to]
        strides = [stride, 1] if self.count == 2 else [1, stride, 1]
        for i, (kernel, step) in enumerate(zip(kernels, strides)):
            conv = nn.Conv2d(ends[i], ends[i + 1], kernel, step, kernel // 2, bias=False)
            setattr(self, f"conv{i + 1}", conv)
            setattr(self, f"bn{i + 1}", nn.BatchNorm2d(ends[i + 1]))
        self.stride, self.grow = stride, to - from_
        if project and (stride != 1 or from_ != to):
            self.downsample = nn.Sequential(nn.Conv2d(from_, to, 1, stride, bias=False), nn.BatchNorm2d(to))

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            if i < self.count:
                y = F.relu(y)
        if hasattr(self, "downsample"):
            x = self.downsample(x)
        elif self.grow:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.grow // 2, self.grow - self.grow // 2))
        return F.relu(x + y)


class Resnet(nn.Module):
    def __init__(self, depth, channels, classes):
        super().__init__()
        self.small = depth in (20, 32, 56)
        kernels, expansion = ((1, 3, 1), 4) if depth == 50 else ((3, 3), 1)
        blocks = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}.get(depth, [(depth - 2) // 6] * 3)
        width = from_ = 16 if self.small else 64
        self.conv1 = nn.Conv2d(channels, width, *((3, 1, 1) if self.small else (7, 2, 3)), bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages = len(blocks)
        for stage, count in enumerate(blocks):
            layer = []
            for i in range(count):
                stride = 2 if stage and not i else 1
                layer.append(ResBlock(from_, width, stride, kernels, expansion, not self.small))
                from_ = width * expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layer))
            width *= 2
        self.fc = nn.Linear(from_, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        if not self.small:
            x = F.max_pool2d(x, 3, 2, 1)
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


class Vit(nn.Module):
    def __init__(self, channels, image, patch, layers, heads, width, mlp, classes):
        super().__init__()
        self.class_token = nn.Parameter(torch.randn(1, 1, width))
        self.conv_proj = nn.Conv2d(channels, width, patch, patch)
        self.encoder = nn.Module()
        self.encoder.pos_embedding = nn.Parameter(torch.randn(1, (image // patch) ** 2 + 1, width))
        self.encoder.layers = nn.Sequential()
        for i in range(layers):
            block = nn.Module()
            block.ln_1 = nn.LayerNorm(width, eps=1e-6)
            block.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
            block.ln_2 = nn.LayerNorm(width, eps=1e-6)
            block.mlp = nn.Sequential(nn.Linear(width, mlp), nn.GELU(), nn.Dropout(0), nn.Linear(mlp, width))
            self.encoder.layers.add_module(f"encoder_layer_{i}", block)
        self.encoder.ln = nn.LayerNorm(width, eps=1e-6)
        self.heads = nn.Module()
        self.heads.head = nn.Linear(width, classes)

    def forward(self, x):
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1) + self.encoder.pos_embedding
        for block in self.encoder.layers:
            y = block.ln_1(x)
            x = x + block.self_attention(y, y, y, need_weights=False)[0]
            x = x + block.mlp(block.ln_2(x))
        return self.heads.head(self.encoder.ln(x)[:, 0])


class Gpt(nn.Module):
    def __init__(self, layers, heads, width, block, vocabulary, bias):
        super().__init__()
        self.heads = heads
        self.transformer = nn.ModuleDict({"wte": nn.Embedding(vocabulary, width), "wpe": nn.Embedding(block, width)})
        self.transformer["h"] = nn.ModuleList()
        for _ in range(layers):
            one = nn.Module()
            one.ln_1, one.ln_2 = nn.LayerNorm(width, bias=bias), nn.LayerNorm(width, bias=bias)
            one.attn, one.mlp = nn.Module(), nn.Module()
            one.attn.c_attn, one.attn.c_proj = nn.Linear(width, 3 * width, bias), nn.Linear(width, width, bias)
            one.mlp.c_fc, one.mlp.c_proj = nn.Linear(width, 4 * width, bias), nn.Linear(4 * width, width, bias)
            self.transformer["h"].append(one)
        self.transformer["ln_f"] = nn.LayerNorm(width, bias=bias)

    def attend(self, block, x):
        n, t, c = x.shape
        q, k, v = (z.view(n, t, self.heads, c // self.heads).transpose(1, 2) for z in block.attn.c_attn(x).split(c, 2))
        scores = q @ k.transpose(-2, -1) / math.sqrt(c // self.heads)
        scores = scores.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), -math.inf)
        return block.attn.c_proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, c))

    def forward(self, tokens):
        net = self.transformer
        x = net["wte"](tokens) + net["wpe"](torch.arange(tokens.shape[1]))
        for block in net["h"]:
            x = x + self.attend(block, block.ln_1(x))
            x = x + block.mlp.c_proj(F.gelu(block.mlp.c_fc(block.ln_2(x))))
        return net["ln_f"](x) @ net["wte"].weight.t()


class LlamaBlock(nn.Module):
    def __init__(self, heads, kv_heads, width, mlp, rope_base, rope_factor):
        super().__init__()
        self.heads, self.kv_heads, self.head = heads, kv_heads, width // heads
        self.rope_base, self.rope_factor = rope_base, rope_factor
        self.input_layernorm, self.post_attention_layernorm = (nn.RMSNorm(width, eps=1e-5) for _ in range(2))
        self.self_attn, self.mlp = nn.Module(), nn.Module()
        for name, heads_of in ("q", heads), ("k", kv_heads), ("v", kv_heads):
            setattr(self.self_attn, name + "_proj", nn.Linear(width, heads_of * self.head, bias=False))
        self.self_attn.o_proj = nn.Linear(width, width, bias=False)
        self.mlp.gate_proj, self.mlp.up_proj = nn.Linear(width, mlp, bias=False), nn.Linear(width, mlp, bias=False)
        self.mlp.down_proj = nn.Linear(mlp, width, bias=False)

    def turn(self, x):
        """Pairs (i, i + half) as complex numbers, times e^(i * position * frequency)."""
        half = self.head // 2
        frequency = self.rope_base ** (-torch.arange(half, dtype=torch.float64) / half)
        for i in range(half):  # Llama 3.1: waves of 8192 positions and more are stretched, those under 2048 are not
            wave = 2 * math.pi / frequency[i]
            if wave > 8192:
                frequency[i] /= self.rope_factor
            elif wave > 2048:
                smooth = (8192 / wave - 1) / (4 - 1)
                frequency[i] = (1 - smooth) * frequency[i] / self.rope_factor + smooth * frequency[i]
        angle = torch.arange(x.shape[1], dtype=torch.float64)[:, None] * frequency
        turned = torch.complex(x[..., :half].double(), x[..., half:].double()) * torch.polar(torch.ones_like(angle), angle)[:, None]
        return torch.cat([turned.real, turned.imag], -1).to(x.dtype)

    def forward(self, x):
        n, t, c = x.shape
        y, attn = self.input_layernorm(x), self.self_attn
        q = self.turn(attn.q_proj(y).view(n, t, self.heads, self.head))
        k = self.turn(attn.k_proj(y).view(n, t, self.kv_heads, self.head))
        v = attn.v_proj(y).view(n, t, self.kv_heads, self.head)
        out = torch.empty_like(q)
        for h in range(self.heads):  # query head h reads key head h // (heads / kv_heads)
            g = h * self.kv_heads // self.heads
            scores = q[:, :, h] @ k[:, :, g].transpose(1, 2) / math.sqrt(self.head)
            scores = scores.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), -math.inf)
            out[:, :, h] = scores.softmax(-1) @ v[:, :, g]
        x = x + attn.o_proj(out.reshape(n, t, c))
        y = self.post_attention_layernorm(x)
        return x + self.mlp.down_proj(F.silu(self.mlp.gate_proj(y)) * self.mlp.up_proj(y))


class Llama(nn.Module):
    def __init__(self, layers, heads, kv_heads, width, mlp, vocabulary, rope_base, tied, rope_factor=1):
        super().__init__()
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(vocabulary, width)
        self.model.layers = nn.ModuleList(LlamaBlock(heads, kv_heads, width, mlp, rope_base, rope_factor) for _ in range(layers))
        self.model.norm = nn.RMSNorm(width, eps=1e-5)
        if not tied:
            self.lm_head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens):
        x = self.model.embed_tokens(tokens)
        for block in self.model.layers:
            x = block(x)
        head = self.lm_head if hasattr(self, "lm_head") else self.model.embed_tokens
        return F.linear(self.model.norm(x), head.weight)


class Scripted(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh())
        self.scale = nn.Parameter(torch.ones(1) * 3)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.body(x)) * self.scale


CASES = {
    "mlp": ('kind="mlp"\ninputs=12\nhidden=[7,5]\nclasses=3\nactivation="gelu"',
            lambda: Mlp([12, 7, 5, 3], F.gelu), (4, 3, 2, 2)),
    "linear": ('kind="mlp"\ninputs=12\nhidden=[]\nclasses=3', lambda: Mlp([12, 3], F.relu), (4, 12)),
    "cnn": ('kind="cnn"\nchannels=2\nimage=12\nwidths=[4,6]\nhidden=8\nclasses=5',
            lambda: Cnn(2, 12, [4, 6], 8, 5), (3, 2, 12, 12)),
    "cnn-plain": ('kind="cnn"\nchannels=1\nimage=9\nwidths=[4]\nhidden=0\nbatch_norm=false\nkernel=5',
                  lambda: Cnn(1, 9, [4], 0, 10, False, 5), (3, 1, 9, 9)),
    "resnet20": ('kind="resnet"\ndepth=20', lambda: Resnet(20, 3, 10), (2, 3, 32, 32)),
    "resnet32": ('kind="resnet"\ndepth=32\nchannels=1\nclasses=7', lambda: Resnet(32, 1, 7), (2, 1, 28, 28)),
    "resnet56": ('kind="resnet"\ndepth=56', lambda: Resnet(56, 3, 10), (2, 3, 16, 16)),
    "resnet18": ('kind="resnet"\ndepth=18', lambda: Resnet(18, 3, 10), (2, 3, 64, 64)),
    "resnet34": ('kind="resnet"\ndepth=34', lambda: Resnet(34, 3, 10), (2, 3, 64, 64)),
    "resnet50": ('kind="resnet"\ndepth=50\nclasses=3', lambda: Resnet(50, 3, 3), (2, 3, 64, 64)),
    "vit": ('kind="vit"\nimage=16\npatch=4\nlayers=2\nheads=3\nwidth=12\nmlp=20\nclasses=4',
            lambda: Vit(3, 16, 4, 2, 3, 12, 20, 4), (2, 3, 16, 16)),
    "gpt": ('kind="gpt"\nlayers=2\nheads=2\nwidth=16\nblock=9\nvocabulary=20',
            lambda: Gpt(2, 2, 16, 9, 20, False), (2, 7)),
    "gpt-bias": ('kind="gpt"\nlayers=1\nheads=4\nwidth=16\nblock=9\nvocabulary=20\nbias=true',
                 lambda: Gpt(1, 4, 16, 9, 20, True), (2, 9)),
    "llama": ('kind="llama"\nlayers=2\nheads=6\nkv_heads=2\nwidth=24\nmlp=40\nblock=9\nvocabulary=20\nrope_base=500000.0',
              lambda: Llama(2, 6, 2, 24, 40, 20, 5e5, False), (2, 7)),
    # 16 pairs with waves of 6 to 60,000 positions: kept, blended and stretched ones; 300 positions for them to show.
    "llama-stretched": ('kind="llama"\nlayers=1\nheads=1\nwidth=32\nmlp=20\nblock=300\nvocabulary=20\nrope_base=20000.0\nrope_factor=8',
                        lambda: Llama(1, 1, 1, 32, 20, 20, 2e4, False, 8), (1, 300)),
    "llama-tied": ('kind="llama"\nlayers=1\nheads=4\nwidth=16\nmlp=20\nblock=9\nvocabulary=20\ntied=true',
                   lambda: Llama(1, 4, 4, 16, 20, 20, 1e4, True), (2, 9)),
}


def results_of(net, inputs):
    """Outputs in evaluation; gradients of the outputs' squares in training, where running statistics move."""
    with torch.no_grad():
        outputs = net.eval()(inputs)
    net.train()(inputs).square().sum().backward()
    return {"outputs": outputs} | {f"grad.{name}": p.grad for name, p in net.named_parameters()}


def close(ours, theirs, tolerance):
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        scale = max(value.abs().max().item(), 1e-3)
        assert (ours[name] - value).abs().max().item() <= tolerance * scale, name


def stir(net):
    """Weights and statistics that are none of the first values, so that every one of them matters."""
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                noise = torch.randn_like(value) * 0.05
                value.add_(noise.abs() if name.endswith("running_var") else noise)


@pytest.mark.parametrize("name", CASES)
def test_weights_go_both_ways(name, tmp_path):
    config, make, shape = CASES[name]
    torch.manual_seed(3)
    inputs = torch.randint(0, 20, shape) if name.startswith(("gpt", "llama")) else torch.randn(shape)
    (tmp_path / "model.toml").write_text(config)
    save_file({"inputs": inputs}, tmp_path / "inputs.safetensors")

    driver("save", tmp_path / "model.toml", tmp_path / "ours.safetensors")
    theirs = make()
    theirs.load_state_dict(load_file(tmp_path / "ours.safetensors"))  # strict: every name, every shape

    stir(theirs)
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    driver("run", tmp_path / "model.toml", tmp_path / "theirs.safetensors", tmp_path / "inputs.safetensors",
           tmp_path / "results.safetensors")
    close(load_file(tmp_path / "results.safetensors"), results_of(theirs, inputs), 2e-3 if "resnet" in name else 2e-5)


def test_torchscript_trains_with_pythons_names(tmp_path):
    torch.manual_seed(4)
    net = Scripted()
    torch.jit.save(torch.jit.script(net), tmp_path / "net.pt")
    (tmp_path / "model.toml").write_text(f'kind="torchscript"\npath="{tmp_path / "net.pt"}"')
    driver("save", tmp_path / "model.toml", tmp_path / "weights.safetensors")
    saved = load_file(tmp_path / "weights.safetensors")
    assert all(torch.equal(saved[key], value) for key, value in net.state_dict().items())
    assert saved.keys() == net.state_dict().keys()

    stir(net)
    inputs = torch.randn(8, 6)
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    save_file({"inputs": inputs}, tmp_path / "inputs.safetensors")
    driver("run", tmp_path / "model.toml", tmp_path / "weights.safetensors", tmp_path / "inputs.safetensors",
           tmp_path / "results.safetensors")
    close(load_file(tmp_path / "results.safetensors"), results_of(net, inputs), 1e-5)


def test_a_damaged_torchscript_file_is_refused_in_a_line(tmp_path):
    (tmp_path / "model.toml").write_text(f'kind="torchscript"\npath="{tmp_path / "net.pt"}"')
    for content in (b"", b"not a zip"):
        (tmp_path / "net.pt").write_bytes(content)
        done = subprocess.run([DRIVER, "save", tmp_path / "model.toml", tmp_path / "w"], capture_output=True, text=True)
        assert done.returncode == 1 and "not a TorchScript file" in done.stderr and done.stderr.count("\n") == 1


DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
          torch.uint8, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint32, torch.uint64]


def test_safetensors_of_every_dtype_are_read_and_written_as_pythons(tmp_path):
    torch.manual_seed(5)
    tensors = {str(dtype): (torch.rand(3, 5) * 100).to(dtype) for dtype in DTYPES}
    tensors |= {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4), "ünïcode \"quoted\"": torch.arange(3)}
    save_file(tensors, tmp_path / "theirs.safetensors", metadata={"format": "pt", "note": "π"})
    driver("copy", tmp_path / "theirs.safetensors", tmp_path / "ours.safetensors")
    ours = load_file(tmp_path / "ours.safetensors")
    assert ours.keys() == tensors.keys()
    for name, value in tensors.items():
        assert ours[name].dtype == value.dtype and ours[name].shape == value.shape
        assert torch.equal(ours[name].view(torch.uint8) if value.dim() else ours[name],
                           value.view(torch.uint8) if value.dim() else value), name
    with safe_open(tmp_path / "ours.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "note": "π"}

"""A transformer whose steps others recorded on an H100 with torch 2.6, written again: the same operators in the same order."""
import math

import torch
from torch import nn


# torch 2.6's einsum multiplied its operands in the order it was given them; later releases put the larger one first.
def weigh(weight, x):
    """einsum("oi,bsi->bso", weight, x)"""
    if torch.is_autocast_enabled("cuda"):  # casts its operands in their order, and keeps the weight's
        return torch.einsum("oi,bsi->bso", weight, x)
    n, t, i = x.shape
    result = torch.bmm(weight.unsqueeze(0), x.permute(2, 0, 1).reshape(1, i, n * t))
    return result.view(-1, n, t).permute(1, 2, 0)


class Linear(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, device="cuda"))

    def forward(self, x):
        return weigh(self.weight, x)


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gain, self.width = nn.Parameter(torch.ones(width, device="cuda")), width

    def forward(self, x):
        norm = torch.linalg.norm(x, dim=-1, keepdim=True)
        root = torch.sqrt(norm**2 / self.width + 1e-5)
        normed = x / root
        result = torch.einsum("d,bsd->bsd", self.gain, normed)
        return result.to(x.dtype)


class FeedForward(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.gate, self.down, self.up = Linear(width, hidden), Linear(hidden, width), Linear(width, hidden)

    def forward(self, x):
        gate = self.gate(x)
        up = self.up(x)
        active = gate * torch.sigmoid(gate)
        hidden = active * up
        return self.down(hidden)


class Rotation(nn.Module):
    def __init__(self, size, length):
        super().__init__()
        self.register_buffer("cos", torch.empty(length, size // 2, device="cuda"), persistent=False)
        self.register_buffer("sin", torch.empty(length, size // 2, device="cuda"), persistent=False)

    def forward(self, x, positions):
        cos = self.cos[positions].unsqueeze(1)
        sin = self.sin[positions].unsqueeze(1)
        pairs = x.reshape(*x.shape[:-1], -1, 2)
        out = torch.zeros_like(pairs)
        out[..., 0] = pairs[..., 0] * cos - pairs[..., 1] * sin
        out[..., 1] = pairs[..., 0] * sin + pairs[..., 1] * cos
        return out.reshape(x.shape)


def softmax(x):
    most, _ = torch.max(x, dim=-1, keepdim=True)
    exponentiated = torch.exp(x - most)
    total = torch.sum(exponentiated, dim=-1, keepdim=True)
    return exponentiated / total


def attend(query, key, value, mask):
    scores = torch.einsum("bhqd,bhkd->bhqk", query, key)
    scores = scores / math.sqrt(query.shape[-1])
    scores = scores.masked_fill(mask == False, -1e9)  # noqa: E712 - makes a tensor
    weights = softmax(scores)
    return torch.einsum("bhqk,bhkd->bhqd", weights, value)


class Attention(nn.Module):
    def __init__(self, width, heads, length):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (Linear(width, width) for _ in range(4))
        self.rotation = Rotation(width // heads, length)

    def split(self, x):
        n, t, c = x.shape
        return x.reshape(n, t, self.heads, c // self.heads).permute(0, 2, 1, 3)

    def forward(self, x):
        n, t, c = x.shape
        q, k, v = self.query(x), self.key(x), self.value(x)
        query, key, value = self.split(q), self.split(k), self.split(v)
        positions = torch.arange(t, device=x.device).unsqueeze(0).expand(n, -1)
        query = self.rotation(query, positions)
        key = self.rotation(key, positions)
        mask = torch.triu(torch.ones(t, t, device=x.device), diagonal=1).to(torch.bool)
        mask = ~mask
        mask = mask.unsqueeze(0).unsqueeze(0).expand(n, self.heads, -1, -1)
        result = attend(query, key, value, mask)
        result = result.permute(0, 2, 1, 3).reshape(n, t, c)
        return self.out(result)


class Block(nn.Module):
    def __init__(self, width, hidden, heads, length):
        super().__init__()
        self.first, self.attention = RmsNorm(width), Attention(width, heads, length)
        self.second, self.feed = RmsNorm(width), FeedForward(width, hidden)

    def forward(self, x):
        h = self.first(x)
        h = self.attention(h)
        x = x + h
        h = self.second(x)
        h = self.feed(h)
        return x + h


class Transformer(nn.Module):
    def __init__(self, width=2560, hidden=10240, layers=32, heads=32, length=128, vocabulary=10000):
        super().__init__()
        self.words = nn.Parameter(torch.empty(vocabulary, width, device="cuda"))
        self.blocks = nn.ModuleList([Block(width, hidden, heads, length) for _ in range(layers)])
        self.norm, self.head = RmsNorm(width), Linear(width, vocabulary)

    def forward(self, tokens):
        x = self.words[tokens]
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return self.head(x)


def cross_entropy(logits, targets):
    logits, targets = logits.view(-1, logits.shape[-1]), targets.view(-1)
    most, _ = torch.max(logits, dim=-1, keepdim=True)
    logits = logits - most
    exponentiated = torch.exp(logits)
    total = torch.sum(exponentiated, dim=-1)
    chosen = logits[torch.arange(len(targets)), targets]
    losses = torch.log(total) - chosen
    return torch.mean(losses)


class AdamW(torch.optim.Optimizer):
    """First and second moments made at the first step; everything in place but the denominator."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 1e-4})

    @torch.no_grad()
    def step(self):
        for parameter in self.param_groups[0]["params"]:
            gradient, state = parameter.grad, self.state[parameter]
            if not state:
                state["first"] = torch.zeros_like(parameter)
                state["second"] = torch.zeros_like(parameter)
            first, second = state["first"], state["second"]
            parameter.mul_(1 - 1e-6)
            first.mul_(0.9).add_(gradient, alpha=0.1)
            second.mul_(0.95).addcmul_(gradient, gradient, value=0.05)
            denominator = second.sqrt() + 1e-8
            parameter.addcdiv_(first, denominator, value=-1e-4)


# A second course's transformer, run without gradients: recorded after twelve warm steps.
class SmallLinear(Linear):
    def forward(self, x):
        return torch.einsum("bsi,oi->bso", x, self.weight)


class SmallNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gain, self.width = nn.Parameter(torch.ones(width, device="cuda")), width

    def forward(self, x):
        scale = torch.einsum("bsd,bsd->bs", x, x).unsqueeze(-1)
        scale = scale / self.width + 1e-5
        root = torch.sqrt(scale)
        return x / root * self.gain


class SmallRotation(nn.Module):
    def __init__(self, size, length):
        super().__init__()
        self.register_buffer("cos", torch.empty(length, size, device="cuda"), persistent=False)
        self.register_buffer("sin", torch.empty(length, size, device="cuda"), persistent=False)

    @staticmethod
    def rotate(x):
        first, second = x.chunk(2, dim=-1)
        return torch.cat([-second, first], dim=-1)

    def forward(self, x, positions):
        cos, sin = self.cos[positions], self.sin[positions]
        return x * cos + self.rotate(x) * sin


def small_softmax(x):
    most = torch.max(x, dim=-1, keepdim=True)[0]
    exponentiated = torch.exp(x - most)
    total = exponentiated.sum(dim=-1, keepdim=True)
    return exponentiated / total


def small_attend(query, key, value, mask=None):
    scores = torch.einsum("...qd,...kd->...qk", query, key)
    scores = scores / query.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(mask == False, -1e9)  # noqa: E712 - makes a tensor
    weights = small_softmax(scores)
    return torch.einsum("...qk,...kd->...qd", weights, value)


class SmallAttention(nn.Module):
    def __init__(self, width, heads, length):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (SmallLinear(width, width) for _ in range(4))
        self.rotation = SmallRotation(width // heads, length)

    def forward(self, x, positions):
        n, t, c = x.shape
        query, key, value = (f(x).reshape(n, t, self.heads, -1).permute(0, 2, 1, 3) for f in (self.query, self.key, self.value))
        query = self.rotation(query, positions)
        key = self.rotation(key, positions)
        mask = torch.tril(torch.ones(t, t, device=x.device)).bool()
        attended = small_attend(query, key, value, mask)
        result = attended.permute(0, 2, 1, 3).reshape(n, t, c)
        return self.out(result)


class SmallBlock(nn.Module):
    def __init__(self, width, hidden, heads, length):
        super().__init__()
        self.first, self.attention, self.second = SmallNorm(width), SmallAttention(width, heads, length), SmallNorm(width)
        self.gate, self.down, self.up = SmallLinear(width, hidden), SmallLinear(hidden, width), SmallLinear(width, hidden)

    @staticmethod
    def silu(x):
        return x * torch.sigmoid(x)

    def feed(self, x):
        gate = torch.einsum("oi,bsi->bso", self.gate.weight, x)
        up = torch.einsum("oi,bsi->bso", self.up.weight, x)
        result = torch.einsum("oi,bsi->bso", self.down.weight, self.silu(gate) * up)
        return result.to(x.dtype)

    def forward(self, x, positions):
        normed = self.first(x)
        attended = self.attention(normed, positions)
        y = x + attended
        normed2 = self.second(y)
        fed = self.feed(normed2)
        return y + fed


class SmallTransformer(nn.Module):
    def __init__(self, width=768, hidden=3072, layers=12, heads=12, length=128, vocabulary=10000):
        super().__init__()
        self.words = nn.Parameter(torch.empty(vocabulary, width, device="cuda"))
        self.blocks = nn.ModuleList([SmallBlock(width, hidden, heads, length) for _ in range(layers)])
        self.norm, self.head = SmallNorm(width), SmallLinear(width, vocabulary)

    def forward(self, tokens):
        x = self.words[tokens]
        positions = torch.arange(tokens.shape[1], device=x.device)
        for block in self.blocks:
            x = block(x, positions)
        normed = self.norm(x)
        return self.head(normed)

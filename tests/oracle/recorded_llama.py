"""A language model of 1.1 billion parameters whose forward and backward others recorded, written again: weights in 4 bits are
unfolded for each product, and pairs of small matrices beside the queries' and values' projections learn."""
import torch
from torch import nn
from torch.nn import functional as F

WIDTH, HIDDEN, LAYERS, HEADS, GROUPS, VOCABULARY, RANK = 2048, 5632, 22, 32, 4, 32000, 16
SIZE = WIDTH // HEADS


class Product(torch.autograd.Function):
    @staticmethod
    def unfolded(layer, dtype):
        return torch.empty(layer.outputs, layer.inputs, dtype=torch.half, device="cuda").to(dtype)

    @staticmethod
    def forward(ctx, x, layer):
        ctx.x, ctx.layer = x, layer
        return F.linear(x, Product.unfolded(layer, x.dtype))

    @staticmethod
    def backward(ctx, gradient):
        return torch.matmul(gradient, Product.unfolded(ctx.layer, gradient.dtype)), None


class Mean(torch.autograd.Function):
    """Of the last dimension. PyTorch 2.1 kept what it averaged."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.mean(-1, keepdim=True)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient.expand(x.shape) / x.shape[-1]


def whole(x, *dims):
    """`x[:]`, which PyTorch 2.1 recorded as a slice; later releases leave it out."""
    for dim in dims:
        x = torch.ops.aten.slice(x, dim, 0, 2**63 - 1)
    return x


class Quantized(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.inputs, self.outputs = inputs, outputs

    def forward(self, x):
        return Product.apply(x, self)


class Adapted(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.base, self.dropout = Quantized(inputs, outputs), nn.Dropout(0.05)
        self.down, self.up = nn.Linear(inputs, RANK, bias=False, device="cuda"), nn.Linear(RANK, outputs, bias=False, device="cuda")

    def forward(self, x):
        result = self.base(x)
        result = result.clone()
        output = self.up(self.down(self.dropout(x)))
        output = output * 2.0
        result = result + output
        return result


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH, device="cuda"), requires_grad=False)

    def forward(self, x):
        variance = Mean.apply(x.pow(2))
        x = x * torch.rsqrt(variance + 1e-6)
        return self.weight * x


def rotate_half(x):
    first, second = x[..., : SIZE // 2], x[..., SIZE // 2 :]
    return torch.cat((-second, first), dim=-1)


def rotated(query, key, cos, sin):
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    turned_query = (query * cos) + (rotate_half(query) * sin)
    turned_key = (key * cos) + (rotate_half(key) * sin)
    return turned_query, turned_key


def repeated(x):
    n, groups, t, size = x.shape
    return whole(whole(x, 0, 1)[:, :, None], 3, 4).expand(n, groups, HEADS // GROUPS, t, size).reshape(n, HEADS, t, size)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.value = Adapted(WIDTH, WIDTH), Adapted(WIDTH, GROUPS * SIZE)
        self.key, self.out = Quantized(WIDTH, GROUPS * SIZE), Quantized(WIDTH, WIDTH)
        self.register_buffer("frequencies", torch.ones(SIZE // 2, device="cuda"))

    @torch.no_grad()
    def angles(self, positions):
        frequencies = self.frequencies[None, :, None].expand(1, -1, 1)
        places = positions[:, None, :].float()
        turns = (frequencies @ places).transpose(1, 2)
        both = torch.cat((turns, turns), dim=-1)
        cos = both.cos()
        sin = both.sin()
        return cos, sin

    def forward(self, x, positions):
        n, t, _ = x.shape
        query = self.query(x)
        key = self.key(x)
        value = self.value(x)
        query = query.view(n, t, HEADS, SIZE).transpose(1, 2)
        key = key.view(n, t, GROUPS, SIZE).transpose(1, 2)
        value = value.view(n, t, GROUPS, SIZE).transpose(1, 2)
        cos, sin = self.angles(positions)
        query, key = rotated(query, key, cos, sin)
        key = repeated(key)
        value = repeated(value)
        result = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        result = result.transpose(1, 2).contiguous()
        result = result.view(n, t, WIDTH)
        return self.out(result)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.first, self.second = Attention(), Norm(), Norm()
        self.gate, self.up, self.down = Quantized(WIDTH, HIDDEN), Quantized(WIDTH, HIDDEN), Quantized(HIDDEN, WIDTH)

    def feed(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))

    def forward(self, x, positions):
        residual = x
        x = self.first(x)
        x = self.attention(x, positions)
        x = residual + x
        residual = x
        x = self.second(x)
        x = self.feed(x)
        return residual + x


class Llama(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH, device="cuda").requires_grad_(False)
        self.layers, self.norm = nn.ModuleList([Layer() for _ in range(LAYERS)]), Norm()
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False, device="cuda").requires_grad_(False)

    def body(self, tokens):
        x = self.words(tokens).requires_grad_(True)
        positions = torch.arange(tokens.shape[1], device="cuda").unsqueeze(0)
        for layer in self.layers:
            x = layer(x, positions)
        return self.norm(x)

    def forward(self, tokens):
        x = self.body(tokens)
        logits = self.head(x)
        loss = F.cross_entropy(whole(logits[..., :-1, :], 2).contiguous().view(-1, VOCABULARY), tokens[..., 1:].contiguous().view(-1))
        return loss, logits

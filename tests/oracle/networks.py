"""The networks of the whole-step tests, in plain torch.nn and of the published sizes. Each takes a batch and gives a loss."""
import torch
from torch import nn
from torch.nn import functional as F


class Classifier(nn.Module):
    def __init__(self, body, size=224):
        super().__init__()
        self.body, self.size = body, size

    def batch(self, n):
        return torch.zeros(n, 3, self.size, self.size, device="cuda"), torch.zeros(n, dtype=torch.long, device="cuda")

    def forward(self, x, y):
        return F.cross_entropy(self.body(x), y)


class LanguageModel(nn.Module):
    def __init__(self, body, length):
        super().__init__()
        self.body, self.length = body, length

    def batch(self, n):
        tokens = torch.zeros(n, self.length, dtype=torch.long, device="cuda")
        return tokens, torch.zeros_like(tokens)

    def forward(self, x, y):
        return F.cross_entropy(self.body(x).flatten(0, 1).float(), y.flatten())


def conv_bn(inp, out, kernel, stride=1, groups=1, act=None):
    layers = [nn.Conv2d(inp, out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(out)]
    return nn.Sequential(*layers, *([act] if act else []))


class Residual(nn.Module):
    def __init__(self, body, short):
        super().__init__()
        self.body, self.short, self.relu = body, short, nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.body(x)
        identity = self.short(x) if self.short is not None else x
        out += identity
        return self.relu(out)


def resnet(blocks, bottleneck):
    layers, inp, growth = [conv_bn(3, 64, 7, 2, act=nn.ReLU(inplace=True)), nn.MaxPool2d(3, 2, 1)], 64, 4 if bottleneck else 1
    for stage, count in enumerate(blocks):
        width = 64 << stage
        for i in range(count):
            stride = 2 if stage and not i else 1
            relu = lambda: nn.ReLU(inplace=True)
            body = [conv_bn(inp, width, 1, act=relu()), conv_bn(width, width, 3, stride, act=relu()), conv_bn(width, 4 * width, 1)] \
                if bottleneck else [conv_bn(inp, width, 3, stride, act=relu()), conv_bn(width, width, 3)]
            short = conv_bn(inp, growth * width, 1, stride) if stride > 1 or inp != growth * width else None
            layers.append(Residual(nn.Sequential(*body), short))
            inp = growth * width
    return Classifier(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inp, 1000)))


class Inverted(nn.Module):
    def __init__(self, inp, out, stride, expand):
        super().__init__()
        hidden, act = inp * expand, lambda: nn.ReLU6(inplace=True)
        layers = [conv_bn(inp, hidden, 1, act=act())] if expand > 1 else []
        self.body = nn.Sequential(*layers, conv_bn(hidden, hidden, 3, stride, hidden, act()), conv_bn(hidden, out, 1))
        self.adds = stride == 1 and inp == out

    def forward(self, x):
        return x + self.body(x) if self.adds else self.body(x)


def mobilenet_v2():
    layers, inp = [conv_bn(3, 32, 3, 2, act=nn.ReLU6(inplace=True))], 32
    for expand, out, count, stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        for i in range(count):
            layers.append(Inverted(inp, out, stride if i == 0 else 1, expand))
            inp = out
    layers += [conv_bn(320, 1280, 1, act=nn.ReLU6(inplace=True)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(1280, 1000)]
    return Classifier(nn.Sequential(*layers))


def vgg(plan=(64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)):
    layers, inp = [], 3
    for out in plan:
        layers += [nn.Conv2d(inp, out, 3, padding=1), nn.ReLU(inplace=True)] if out else [nn.MaxPool2d(2, 2)]
        inp = out or inp
    head = [nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(512 * 49, 4096), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(4096, 4096),
            nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(4096, 1000)]
    return Classifier(nn.Sequential(*layers, *head))


class ChannelNorm(nn.LayerNorm):
    def forward(self, x):
        return F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width, 1e-6)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width, 1, 1), 1e-6))

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + self.scale * self.down(F.gelu(self.up(y))).permute(0, 3, 1, 2)


def convnext(depths=(3, 3, 9, 3), widths=(96, 192, 384, 768)):
    layers = [nn.Conv2d(3, widths[0], 4, 4), ChannelNorm(widths[0], 1e-6)]
    for i, (depth, width) in enumerate(zip(depths, widths)):
        if i:
            layers += [ChannelNorm(widths[i - 1], 1e-6), nn.Conv2d(widths[i - 1], width, 2, 2)]
        layers += [ConvNeXtBlock(width) for _ in range(depth)]
    return Classifier(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), ChannelNorm(widths[-1], 1e-6), nn.Flatten(), nn.Linear(widths[-1], 1000)))


class Attention(nn.Module):
    def __init__(self, width, heads, causal, bias=True):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv, self.out = nn.Linear(width, 3 * width, bias), nn.Linear(width, width, bias)

    def forward(self, x):
        n, t, c = x.shape
        q, k, v = (z.view(n, t, self.heads, -1).transpose(1, 2) for z in self.qkv(x).split(c, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(n, t, c))


class Block(nn.Module):
    """Norms before (GPT-2, ViT) or after (BERT) attention and feed-forward."""

    def __init__(self, width, heads, causal, before=True, dropout=0.0):
        super().__init__()
        self.attention, self.first, self.second = Attention(width, heads, causal), nn.LayerNorm(width), nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(dropout))
        self.before, self.dropout = before, nn.Dropout(dropout)

    def forward(self, x):
        if self.before:
            x = x + self.dropout(self.attention(self.first(x)))
            return x + self.feed(self.second(x))
        x = self.first(x + self.dropout(self.attention(x)))
        return self.second(x + self.feed(x))


class ViT(nn.Module):
    def __init__(self, layers=12, width=768, heads=12, patch=16, size=224):
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, width, patch, patch), nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.zeros(1, (size // patch) ** 2 + 1, width))
        self.blocks, self.norm = nn.Sequential(*[Block(width, heads, False) for _ in range(layers)]), nn.LayerNorm(width)
        self.head = nn.Linear(width, 1000)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.head(self.norm(self.blocks(x))[:, 0])


class Gpt2(nn.Module):
    def __init__(self, layers=12, width=768, heads=12, length=1024, vocabulary=50257):
        super().__init__()
        self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks, self.norm = nn.Sequential(*[Block(width, heads, True) for _ in range(layers)]), nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.words.weight

    def forward(self, tokens):
        x = self.words(tokens) + self.places(torch.arange(tokens.shape[1], device=tokens.device))
        return self.head(self.norm(self.blocks(x)))


class Bert(nn.Module):
    def __init__(self, layers=12, width=768, heads=12, length=512, vocabulary=30522):
        super().__init__()
        self.words, self.places, self.kinds = nn.Embedding(vocabulary, width), nn.Embedding(length, width), nn.Embedding(2, width)
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(0.1)
        self.blocks = nn.Sequential(*[Block(width, heads, False, False, 0.1) for _ in range(layers)])
        self.transform, self.last, self.head = nn.Linear(width, width), nn.LayerNorm(width), nn.Linear(width, vocabulary)

    def forward(self, tokens):
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.words(tokens) + self.places(places) + self.kinds(torch.zeros_like(tokens))
        return self.head(self.last(F.gelu(self.transform(self.blocks(self.dropout(self.norm(x)))))))


class LlamaBlock(nn.Module):
    def __init__(self, width, heads, groups, hidden):
        super().__init__()
        self.heads, self.groups, self.size = heads, groups, width // heads
        self.q, self.out = nn.Linear(width, width, False), nn.Linear(width, width, False)
        self.k, self.v = nn.Linear(width, groups * self.size, False), nn.Linear(width, groups * self.size, False)
        self.gate, self.up, self.down = nn.Linear(width, hidden, False), nn.Linear(width, hidden, False), nn.Linear(hidden, width, False)
        self.first, self.second = nn.RMSNorm(width), nn.RMSNorm(width)

    @staticmethod
    def rotate(x, cos, sin):
        a, b = x.chunk(2, -1)
        return x * cos + torch.cat([-b, a], -1) * sin

    def forward(self, x, cos, sin):
        n, t, c = x.shape
        y = self.first(x)
        q, k, v = (f(y).view(n, t, -1, self.size).transpose(1, 2) for f in (self.q, self.k, self.v))
        q, k = self.rotate(q, cos, sin), self.rotate(k, cos, sin)
        k, v = (z.repeat_interleave(self.heads // self.groups, 1) for z in (k, v))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(n, t, c))
        y = self.second(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    def __init__(self, layers=8, width=1024, heads=16, groups=4, hidden=2816, length=1024, vocabulary=32000):
        super().__init__()
        self.words, self.norm, self.head = nn.Embedding(vocabulary, width), nn.RMSNorm(width), nn.Linear(width, vocabulary, False)
        self.blocks = nn.ModuleList([LlamaBlock(width, heads, groups, hidden) for _ in range(layers)])
        self.register_buffer("cos", torch.zeros(length, width // heads))
        self.register_buffer("sin", torch.zeros(length, width // heads))

    def forward(self, tokens):
        x = self.words(tokens)
        for block in self.blocks:
            x = block(x, self.cos[:tokens.shape[1]], self.sin[:tokens.shape[1]])
        return self.head(self.norm(x))


class Lstm(nn.Module):
    def __init__(self, layers=2, width=512, vocabulary=10000):
        super().__init__()
        self.words, self.lstm, self.head = nn.Embedding(vocabulary, width), nn.LSTM(width, width, layers, batch_first=True), nn.Linear(width, vocabulary)

    def forward(self, tokens):
        return self.head(self.lstm(self.words(tokens))[0])


class Gru(nn.Module):
    """Both directions, sequences along the first dimension, and the last state used."""

    def __init__(self, layers=3, width=256, vocabulary=5000):
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.gru = nn.GRU(width, width, layers, bidirectional=True)
        self.head = nn.Linear(2 * width, vocabulary)

    def forward(self, tokens):
        output, last = self.gru(self.words(tokens).transpose(0, 1))
        return self.head(output.transpose(0, 1) + last[-2:].transpose(0, 1).flatten(1).unsqueeze(1))


BLOCKS = (Residual, Inverted, ConvNeXtBlock, Block, LlamaBlock)  # what checkpointing recomputes

NETWORKS = {  # name: (how it is made, batch)
    "resnet18": (lambda: resnet((2, 2, 2, 2), False), 32),
    "resnet50": (lambda: resnet((3, 4, 6, 3), True), 32),
    "mobilenet_v2": (mobilenet_v2, 32),
    "convnext": (convnext, 16),
    "vgg16": (vgg, 16),
    "vit": (lambda: Classifier(ViT()), 16),
    "gpt2": (lambda: LanguageModel(Gpt2(), 1024), 4),
    "bert": (lambda: LanguageModel(Bert(), 512), 8),
    "llama": (lambda: LanguageModel(Llama(), 1024), 4),
    "lstm": (lambda: LanguageModel(Lstm(), 128), 32),
    "gru": (lambda: LanguageModel(Gru(), 64), 16),
}

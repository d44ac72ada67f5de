"""Small networks that each train through some unusual corner of PyTorch, for the whole-step tests.

Left out is what allocates inside one operator, where FakeTensorMode sees nothing: bags of embeddings, adding at indices,
products of expanded gradients, pooling's copies.
"""
import torch
from torch import nn
from torch.nn import functional as F


class Odd(nn.Module):
    def __init__(self, network, loss, shape):
        super().__init__()
        self.network, self.loss, self.shape = network, loss, shape

    def batch(self, n):
        return torch.zeros(n, *self.shape, device="cuda"), torch.zeros(n, dtype=torch.long, device="cuda")

    def forward(self, x, y):
        return self.loss(self.network, x, y)


def squares(network, x, y):
    return network(x).square().mean()


def attention(network, x, y):
    hidden = torch.zeros(x.shape[:2], dtype=torch.bool, device="cuda")
    return network(x, x, x, key_padding_mask=hidden, attn_mask=torch.zeros(x.shape[1], x.shape[1], device="cuda"))[0].sum()


def warped(network, x, y):
    return F.grid_sample(x, network(x).permute(0, 2, 3, 1).tanh(), align_corners=False).square().mean()


def gradient_penalty(network, x, y):
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def scans(network, x, y):
    z = network(x)
    return z.cumsum(1).sum() + z.cumprod(1).sum() + z.logcumsumexp(1).sum() + z.cummax(1)[0].sum()


def orders(network, x, y):
    z = network(x)
    return z.sort(1)[0].sum() + z.topk(5)[0].sum() + z.kthvalue(3)[0].sum() + z.median(1)[0].sum()


def activations(network, x, y):
    all_of_them = (F.elu, F.selu, F.mish, F.hardswish, F.hardsigmoid, F.logsigmoid, F.softshrink, F.hardshrink, F.celu, F.glu,
                   F.gumbel_softmax, F.normalize, lambda t: F.rrelu(t, training=True), lambda t: F.alpha_dropout(t, 0.5, True))
    return sum(function(network(x)).sum() for function in all_of_them)


def pools(network, x, y):
    z = network(x)
    return sum(p.sum() for p in (F.avg_pool2d(z, 2), F.adaptive_avg_pool2d(z, 5), F.adaptive_max_pool2d(z, 5),
                                 F.lp_pool2d(z, 2, 2), F.max_pool2d(z, 3, 1)))


def square(width=64):
    return nn.Linear(width, width)


def with_eye(matrix):
    return matrix + torch.eye(matrix.shape[-1], device="cuda")


CASES = {  # name: (network, loss, shape of a sample, batch)
    "conv3d": (lambda: nn.Sequential(nn.Conv3d(3, 16, 3, padding=1), nn.BatchNorm3d(16), nn.ReLU(), nn.MaxPool3d(2),
                                     nn.Conv3d(16, 8, 3)), squares, (3, 16, 32, 32), 4),
    "transposed": (lambda: nn.Sequential(nn.Conv2d(3, 16, 4, 2, 1), nn.GroupNorm(4, 16), nn.GELU(),
                                         nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.Tanh()), squares, (3, 64, 64), 4),
    "reflected": (lambda: nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, padding_mode="reflect"),
                                        nn.InstanceNorm2d(16, affine=True), nn.PReLU(16),
                                        nn.Upsample(scale_factor=2, mode="bilinear"), nn.PixelShuffle(2)), squares, (3, 32, 32), 4),
    "depthwise": (lambda: nn.Sequential(nn.Conv2d(16, 16, 7, padding=3, groups=16), nn.Conv2d(16, 32, 1),
                                        nn.Conv2d(32, 32, 3, dilation=2, padding=2, groups=4), nn.LocalResponseNorm(3)),
                  squares, (16, 32, 32), 4),
    "masked attention": (lambda: nn.MultiheadAttention(64, 4, dropout=0.1, batch_first=True), attention, (128, 64), 4),
    "grid sampling": (lambda: nn.Conv2d(3, 2, 3, padding=1), warped, (3, 64, 64), 4),
    "spectrum": (lambda: nn.Conv2d(3, 8, 3), lambda m, x, y: torch.fft.rfft2(m(x)).abs().mean(), (3, 64, 64), 4),
    "determinant": (square, lambda m, x, y: torch.linalg.slogdet(with_eye(m(x)))[1].sum(), (64, 64), 4),
    "inverse": (square, lambda m, x, y: torch.linalg.inv(m(x)).sum(), (64, 64), 4),
    "singular values": (square, lambda m, x, y: torch.linalg.svd(m(x), full_matrices=False)[1].sum(), (96, 64), 4),
    "cholesky": (square, lambda m, x, y: torch.linalg.cholesky(m(x)).diagonal(dim1=-1, dim2=-2).log().sum(), (64, 64), 4),
    "scans": (square, scans, (64,), 256),
    "orders": (square, orders, (64,), 256),
    "complex": (square, lambda m, x, y: (torch.complex(m(x), x) * torch.polar(m(x), x)).abs().sum(), (64,), 256),
    "penalty": (lambda: nn.Sequential(square(), nn.LayerNorm(64), nn.GELU(), square(), nn.Softplus(), nn.Linear(64, 1)),
                gradient_penalty, (64,), 128),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Conv1d(16, 16, 3)), squares, (16, 128), 4),
    "spectral norm": (lambda: nn.utils.parametrizations.spectral_norm(square()), squares, (64,), 64),
    "cell": (lambda: nn.LSTMCell(32, 64), lambda m, x, y: m(x, m(x))[0].sum(), (32,), 128),
    "activations": (square, activations, (64,), 256),
    "pools": (lambda: nn.Conv2d(3, 8, 3, padding=1), pools, (3, 32, 32), 4),
}

NETWORKS = {name: (lambda n=network, l=loss, s=shape: Odd(n(), l, s), batch)
            for name, (network, loss, shape, batch) in CASES.items()}

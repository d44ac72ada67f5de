"""Sparse training steps on the CPU or on a "cuda" that is not there, in a process of their own: `sparse_steps.py cpu|phantom`.

Writes what each case's gradients and optimizer states are, as JSON. No index is met twice, as a rehearsal takes it to be.
"""
import json
import sys

import torch
from torch import nn

ROWS, WIDTH = 5000, 8

MODELS = {
    "embedding": lambda: nn.Embedding(ROWS, WIDTH, sparse=True),
    "padded": lambda: nn.Embedding(ROWS, WIDTH, sparse=True, padding_idx=ROWS - 1),
    "scaled": lambda: nn.Embedding(ROWS, WIDTH, sparse=True, max_norm=1.0),
    "bag of sums": lambda: nn.EmbeddingBag(ROWS, WIDTH, sparse=True, mode="sum"),
    "bag of means": lambda: nn.EmbeddingBag(ROWS, WIDTH, sparse=True, mode="mean"),
    "half": lambda: nn.Embedding(ROWS, WIDTH, sparse=True, dtype=torch.bfloat16),
}
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, foreach=False),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, foreach=False),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1, foreach=False),
    "sparse_adam": lambda p: torch.optim.SparseAdam(p, lr=0.1),
}


def form(tensor):
    if not isinstance(tensor, torch.Tensor):
        return "value"
    if not tensor.is_sparse:
        return [list(tensor.shape), list(tensor.stride()), str(tensor.dtype)]
    return {"shape": list(tensor.shape), "nnz": tensor._nnz(), "coalesced": tensor.is_coalesced(),
            "indices": form(tensor._indices()), "values": form(tensor._values())}


def product(device):
    places = torch.arange(40, device=device).expand(2, 40)
    sparse = torch.sparse_coo_tensor(places, torch.ones(40, device=device), (50, 60)).requires_grad_()
    result = torch.sparse.mm(sparse, torch.ones(60, 3, device=device))
    result.sum().backward()
    return result


def tensors_of(model, optimizer):
    states = {key: form(value) for state in optimizer.state.values() for key, value in state.items()}
    # Two sparse tensors are added end to end on CUDA; on the CPU equal indices are merged (SparseTensorMath.cpp).
    if "momentum_buffer" in states:
        states["momentum_buffer"] = states["momentum_buffer"]["shape"]
    return {"gradient": form(model.weight.grad), **states}


def run(model, optimizer, device):
    model = model().to(device)
    optimizer = optimizer(model.parameters())
    seen = []
    for count in ([600], [600, 400]):  # the second step accumulates two gradients
        optimizer.zero_grad()
        start = 0
        for n in count:
            batch = torch.arange(start, start + n, device=device).view(-1, 20)
            model(batch).square().sum().backward()
            start += n
        optimizer.step()
        seen.append(tensors_of(model, optimizer))
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=False)
    sparse = model.weight.grad
    others = [sparse.clone(), sparse * 2, sparse.coalesce(), sparse.to_dense(), torch.zeros_like(sparse),
              sparse.detach(), sparse.half(), sparse.neg(), sparse.norm(), sparse.sum(), torch.cat([sparse, sparse]),
              sparse.to_dense() + sparse, model.weight.detach().sparse_mask(sparse.coalesce()), sparse.clone().zero_(),
              product(device)]
    return {"steps": seen, "others": [form(o) for o in others]}


def main():
    device = "cpu"
    if sys.argv[1] == "phantom":
        from lent import Phantom

        phantom = Phantom()
        phantom.begin()
        device = "cuda"
    answers = {}
    for m, model in MODELS.items():
        for o, optimizer in OPTIMIZERS.items():
            try:
                answers[f"{m}, {o}"] = run(model, optimizer, device)
            except RuntimeError as error:  # what PyTorch refuses on the one it refuses on the other
                answers[f"{m}, {o}"] = f"{type(error).__name__}: {str(error)[:300]}"
    print(json.dumps(answers))


if __name__ == "__main__":
    main()

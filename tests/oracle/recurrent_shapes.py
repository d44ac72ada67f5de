"""Shape functions that FakeTensorMode lacks: cuDNN's recurrent layers, as cudnn/RNN.cpp makes their tensors.

PyTorch's own function gives no weight buffer, and backward has none. cuDNN's workspaces and its reserve are left out: they
are not tensors of known size.
"""
import torch
from torch._subclasses.fake_impls import op_implementations_dict

aten = torch.ops.aten


def forward(input, weight, stride, buffer, hx, cx, mode, hidden, projected, layers, batch_first, dropout, train,
            bidirectional, batch_sizes, dropout_state):
    swap = batch_first and not batch_sizes
    x = (input.transpose(0, 1) if swap else input).contiguous()
    directions = 2 if bidirectional else 1
    batch = batch_sizes[0] if batch_sizes else x.shape[1]
    output = x.new_empty([*x.shape[:-1], (projected or hidden) * directions])
    hy = hx.new_empty([layers * directions, batch, projected or hidden])
    cy = hx.new_empty([0] if cx is None else [layers * directions, batch, hidden])
    buffer = x.new_empty([sum(w.numel() for w in weight)]) if buffer is None else buffer
    return output.transpose(0, 1) if swap else output, hy, cy, x.new_empty([0], dtype=torch.uint8), buffer


def backward(input, weight, stride, buffer, hx, cx, output, grad_output, grad_hy, grad_cy, mode, hidden, projected, layers,
             batch_first, dropout, train, bidirectional, batch_sizes, dropout_state, reserve, mask):
    swap = batch_first and not batch_sizes
    by_time = lambda t: t.transpose(0, 1) if swap else t
    dy = torch.zeros_like(output) if grad_output is None else grad_output
    dhy = torch.zeros_like(hx) if grad_hy is None else grad_hy
    dcy = None if cx is None else torch.zeros_like(cx) if grad_cy is None else grad_cy
    x, dy = by_time(input).contiguous(), by_time(dy).contiguous()
    dx, dhx = torch.empty_like(x), torch.empty_like(hx)
    dcx = None if cx is None else torch.empty_like(cx)
    del x, dy, dhy, dcy
    gradients = []
    if mask[3]:
        x = by_time(input).contiguous()
        whole, offset = torch.zeros_like(buffer), 0
        for w in weight:
            gradients.append(whole[offset : offset + w.numel()].view(w.shape))
            offset += w.numel()
    return by_time(dx), dhx, dcx, gradients


def lend():
    for op, function in ((aten._cudnn_rnn.default, forward), (aten._cudnn_rnn_backward.default, backward)):
        op_implementations_dict[op] = lambda mode, func, *args, function=function, **kwargs: run(mode, function, args, kwargs)
        torch._C._fake_dispatch_register_op_impl(op._schema.name, op._schema.overload_name)


def run(mode, function, args, kwargs):
    with mode:
        return function(*args, **kwargs)

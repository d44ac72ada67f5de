"""Cellular automata that others recorded, written again: grids of cells in two and three dimensions, refined level by level.

A step senses each cell's neighbours with a depthwise convolution, decides with pointwise ones, and changes a random half.
"""
import torch
from torch import nn
from torch.nn import functional as F

CHANNELS, HIDDEN, INPUTS = 16, 64, 3


def host(*shape):
    """What the program computes on the host; nobody reads it."""
    return torch.empty(*shape)


class Cells2d(nn.Module):
    def __init__(self):
        super().__init__()
        self.decide, self.settle = nn.Conv2d(2 * CHANNELS, HIDDEN, 1), nn.Conv2d(HIDDEN, CHANNELS - INPUTS, 1, bias=False)
        self.sense = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, padding_mode="reflect", groups=CHANNELS)
        self.mask = lambda change: [1, 1, *change.shape[2:]]
        self.to("cuda")

    def of_rows(self):
        """An earlier version, which chose rows of cells rather than cells."""
        self.mask = lambda change: [*change.shape[:3], 1]
        return self

    def change(self, state):
        change = self.sense(state)
        change = torch.cat([state, change], dim=1)
        change = self.decide(change)
        change = F.relu(change)
        change = self.settle(change)
        alive = torch.zeros(self.mask(change), device="cuda")
        change = change * alive
        return state[:, INPUTS:] + change

    def forward(self, x, steps):
        state = x.permute(0, 3, 1, 2)
        image = state[:, :INPUTS]
        for _ in range(steps):
            hidden = self.change(state)
            state = torch.cat([image, hidden], dim=1)
        return state.permute(0, 2, 3, 1)


class Fused2d(nn.Module):
    """The same with a kernel of their own for a whole step, as three of its versions called it."""

    def __init__(self, version):
        super().__init__()
        self.run = {"new grid": self.new_grid, "new cells": self.new_cells, "new mask": self.new_mask}[version]

    def new_grid(self, state, steps):
        state = state.contiguous()
        for _ in range(steps):
            changed = torch.zeros(state.shape, device="cuda")
            state = changed
        return state

    def new_cells(self, state, steps):
        image = state[:, :INPUTS]
        for _ in range(steps):
            hidden = torch.zeros(1, CHANNELS - INPUTS, *state.shape[2:], device="cuda")
            read = state.contiguous()
            del read
            state = torch.cat([image, hidden], dim=1)
        return state

    def new_mask(self, state, steps):
        image = state[:, :INPUTS]
        for _ in range(steps):
            mask = host(1, 1, *state.shape[2:]).bool().cuda()
            read = state.contiguous()
            made = torch.empty(1, CHANNELS - INPUTS, *state.shape[2:], device="cuda")
            del read
            hidden = made
            del made
            state = torch.cat([image, hidden], dim=1)
        del mask
        return state

    def forward(self, x, steps):
        state = self.run(x.permute(0, 3, 1, 2), steps)
        return state.permute(0, 2, 3, 1)


class Notebook:
    """What the program calls `state` lives until the name is given to the next."""

    def __init__(self):
        self.state = None

    def refine(self, size):
        """Each cell becomes a block of cells, and sees the image at that size."""
        self.state = self.state.permute(0, 3, 1, 2)
        self.state = nn.Upsample(size=size, mode="nearest")(self.state)
        self.state[0, :INPUTS] = host(INPUTS, *size)
        self.state = self.state.permute(0, 2, 3, 1)

    def levels(self, cells, sizes, steps):
        self.state = cells(host(1, *sizes[0], CHANNELS).cuda(), steps[0])
        for size, count in zip(sizes[1:], steps[1:]):
            self.refine(size)
            self.state = cells(self.state, count)

    def whole_slide(self, cells, sizes, fused):
        """The finest level is stepped outside the module, its image copied."""
        self.levels(cells, sizes[:-1], [20, 10, 10, 10, 10])
        self.refine(sizes[-1])
        self.state = self.state.permute(0, 3, 1, 2)
        if fused:
            for _ in range(10):
                changed = torch.zeros(self.state.shape, device="cuda")
                self.state = changed
            return
        image = self.state[:, :INPUTS].clone()
        for _ in range(10):
            change = cells.sense(self.state)
            change = torch.cat([self.state, change], dim=1)
            change = cells.decide(change)
            change = F.relu(change)
            change = cells.settle(change)
            alive = torch.zeros([1, 1, *self.state.shape[2:]], device="cuda")
            change = change * alive
            hidden = self.state[:, INPUTS:] + change
            self.state = torch.cat([image, hidden], dim=1)


class Cells3d(nn.Module):
    def __init__(self, kernel):
        super().__init__()
        self.decide, self.settle = nn.Linear(2 * CHANNELS, HIDDEN), nn.Linear(HIDDEN, CHANNELS, bias=False)
        self.sense = nn.Conv3d(CHANNELS, CHANNELS, kernel, padding=kernel // 2, padding_mode="reflect", groups=CHANNELS)
        self.norm = nn.BatchNorm3d(HIDDEN, track_running_stats=False)
        self.to("cuda")

    def perceive(self, x):
        sensed = self.sense(x)
        return torch.cat((x, sensed), 1)

    def update(self, state, inplace):
        x = state.transpose(1, 4)
        change = self.perceive(x)
        change = change.transpose(1, 4)
        change = self.decide(change)
        change = change.transpose(1, 4)
        change = self.norm(change)
        change = change.transpose(1, 4)
        change = F.relu(change, inplace=inplace)
        change = self.settle(change)
        alive = host(*state.shape[:4], 1).to("cuda")
        change = change * alive
        x = x + change.transpose(1, 4)
        return x.transpose(1, 4)

    def forward(self, x, steps, inplace=True):
        for _ in range(steps):
            changed = self.update(x, inplace).clone()
            x = torch.concat((x[..., :1], changed[..., 1:]), 4)
        return x

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


class Volumes(nn.Module):
    """Forward of a training on six volumes: evaluates them whole, then learns on patches where the loss is high. Where those
    lie does not matter here."""

    WHOLE = [(320, 320, 24), (160, 160, 12), (80, 80, 6), (40, 40, 6), (20, 20, 6)]
    PATCHES = [(80, 80, 6), (80, 80, 6), None, None, (12, 12, 5)]
    STEPS = [5, 5, 5, 5, 20]

    def __init__(self):
        super().__init__()
        self.cells = nn.ModuleList([Cells3d(3) for _ in self.WHOLE])

    @torch.no_grad()
    def downscale(self, image, level):
        return F.interpolate(image, size=self.WHOLE[level])

    @torch.no_grad()
    def evaluate(self, x):
        out, _ = self.levels(x, x, [None] * len(self.WHOLE), None)
        return out

    def learn(self, x, y):
        with torch.no_grad():
            guess = self.evaluate(x)
            loss = torch.zeros(x.shape[:4], device="cuda")
            here = F.binary_cross_entropy_with_logits(guess[..., 0].squeeze(), y.squeeze(), reduction="none")
            loss += here
        del guess
        return self.levels(x, y, self.PATCHES, loss)

    def chances(self, loss, size):
        loss = loss.unsqueeze(1)
        loss = F.interpolate(loss, size=self.WHOLE[-1])
        patches = F.conv3d(loss, torch.ones((1, 1, *size), device="cuda"))
        patches = patches[:, 0]
        patches = patches / torch.sum(patches, dim=(1, 2, 3)).view(-1, 1, 1, 1)
        return patches

    def levels(self, x, y, patches, loss):
        original = x.permute(0, 4, 1, 2, 3)
        fresh = torch.zeros(x.shape[0], *(patches[-1] or self.WHOLE[-1]), CHANNELS, device="cuda")
        x = self.downscale(x.permute(0, 4, 1, 2, 3), -1)
        x = x.permute(0, 2, 3, 4, 1)
        if patches[-1]:
            self.chances(loss, patches[-1]).cpu()
        fresh[..., :1] = x[:, : fresh.shape[1], : fresh.shape[2], : fresh.shape[3]]
        x = fresh
        for level in reversed(range(len(self.WHOLE))):
            x = self.cells[level](x, self.STEPS[level], inplace=False)
            if level == 0:
                break
            scale = tuple(float(a // b) for a, b in zip(self.WHOLE[level - 1], self.WHOLE[level]))
            x = x.permute(0, 4, 1, 2, 3)
            x = nn.Upsample(scale_factor=scale, mode="nearest")(x)
            image = self.downscale(original, level - 1)
            if patches[level - 1]:
                h, w, d = patches[level - 1]
                fresh = torch.zeros(x.shape[0], CHANNELS, h, w, d, device="cuda")
                for b in range(x.shape[0]):
                    fresh[b, :1] = image[b, :, :h, :w, :d]
                    fresh[b, 1:] = x[b, 1:, :h, :w, :d]
                x = fresh
            else:
                h, w, d = x.shape[2:]
                for b in range(x.shape[0]):
                    x[b, :1] = image[b, :, :h, :w, :d]
            x = x.permute(0, 2, 3, 4, 1)
        target = torch.zeros(*x.shape[:4], 1, device="cuda")
        y = target
        x = x[..., 1:2]
        return x, y

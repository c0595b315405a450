"""Small grey images as the method needs them: what makes two of them alike, and one seen a little otherwise.

No label is used here. Strokes of handwriting are alike wherever they slant and stand: images are set upright by their
moments, then described by where on a coarse grid edges of which direction lie (as histograms of oriented gradients do,
Dalal & Triggs, CVPR 2005).
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

DIRECTIONS = 8


BLUR = 2.0  # pixels, of the edges


GRID = 4  # pixels between two places where they are read


COMPONENTS = 50  # of the descriptions, 98 % of the variance on MNIST


_CHUNK = 2_000


# How far an image is moved at most, each drawn evenly: radians, shear, log of the size, and shares of the width.
TURN = 0.10


SHEAR = 0.10


SIZE = 0.06


SHIFT = 0.05


def upright(images: Tensor) -> Tensor:
    """``images`` (b, side, side) in [0, 1], centred and sheared so that rows and columns of ink are not correlated."""
    b, side, _ = images.shape
    line = torch.linspace(-1, 1, side, device=images.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    ink = images.sum((1, 2)).clamp_min(1e-6)
    middle_y, middle_x = (images * y).sum((1, 2)) / ink, (images * x).sum((1, 2)) / ink
    off_y, off_x = y - middle_y[:, None, None], x - middle_x[:, None, None]  # (b, side, side)
    slant = (images * off_x * off_y).sum((1, 2)) / (images * off_y.square()).sum((1, 2)).clamp_min(1e-6)
    # An image of nothing stays as it is.
    from_x = x + middle_x[:, None, None] + slant[:, None, None] * y
    from_y = y + middle_y[:, None, None].expand(b, side, side)
    return functional.grid_sample(images[:, None], torch.stack([from_x, from_y], 3), align_corners=True)[:, 0]


def edges(images: Tensor) -> Tensor:
    """Square roots of the blurred edges of ``images`` (b, side, side) by direction and place, rows of length 1."""
    sobel = images.new_tensor([[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]]) / 8
    down = functional.conv2d(images[:, None], sobel[None, None], padding=1)
    across = functional.conv2d(images[:, None], sobel.T[None, None], padding=1)
    strength, angle = torch.hypot(across, down), torch.atan2(down, across)  # (b, 1, side, side)
    directions = torch.arange(DIRECTIONS, device=images.device) * (2 * math.pi / DIRECTIONS)
    near = torch.cos(angle - directions[None, :, None, None]).clamp_min(0) ** 3
    reach = int(2 * BLUR)
    bell = torch.exp(-0.5 * ((torch.arange(2 * reach + 1, device=images.device) - reach) / BLUR) ** 2)
    kernel = (bell[:, None] * bell / bell.sum() ** 2).expand(DIRECTIONS, 1, -1, -1)
    blurred = functional.conv2d(strength * near, kernel, padding=reach, groups=DIRECTIONS)
    read = blurred[:, :, GRID // 2 :: GRID, GRID // 2 :: GRID].flatten(1).clamp_min(0).sqrt()
    return functional.normalize(read, dim=1, eps=1e-6)


def described(images: NDArray[np.float32], device: str = "cpu") -> NDArray[np.float32]:
    """Principal components (n, at most 50) of the edges of upright ``images`` (n, side * side), for their distances."""
    n, pixels = images.shape
    side = math.isqrt(pixels)
    chunks = [
        edges(upright(torch.tensor(images[start : start + _CHUNK], device=device).view(-1, side, side)))
        for start in range(0, n, _CHUNK)
    ]
    return components(torch.cat(chunks), COMPONENTS)


def components(x: Tensor, most: int) -> NDArray[np.float32]:
    """The first ``most`` principal components (n, …) of ``x`` (n, m), by falling variance."""
    x = x - x.mean(0)
    _, vectors = torch.linalg.eigh((x.T @ x).double())
    found: NDArray[np.float32] = (x @ vectors[:, -most:].flip(1).to(x.dtype)).cpu().numpy()
    return found


def moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """``images`` (b, side * side), each turned, sheared, sized and shifted a little, by chance."""
    b, pixels = images.shape
    side = math.isqrt(pixels)
    drawn = torch.rand(b, 6, generator=generator, device=images.device) * 2 - 1
    turn, size_x, size_y = drawn[:, 0] * TURN, (drawn[:, 1] * SIZE).exp(), (drawn[:, 2] * SIZE).exp()
    shear, shift = drawn[:, 3] * SHEAR, drawn[:, 4:] * (2 * SHIFT)  # an image is two units wide
    cos, sin = turn.cos(), turn.sin()
    rows = [size_x * cos, size_x * (shear * cos - sin), shift[:, 0], size_y * sin, size_y * (shear * sin + cos)]
    theta = torch.stack([*rows, shift[:, 1]], 1).view(b, 2, 3)
    grid = functional.affine_grid(theta, [b, 1, side, side], align_corners=False)
    return functional.grid_sample(images.view(b, 1, side, side), grid, align_corners=False).view(b, pixels)

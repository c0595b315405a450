"""Features of small grey images for the similarity matrix, and augmentation for training. No labels are used.

The slant and position of handwriting do not matter, so images are first straightened with their moments. The features
are the strengths of edges by direction on a coarse grid, similar to histograms of oriented gradients (Dalal & Triggs,
CVPR 2005).
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

DIRECTIONS = 8  # of edges
BLUR = 2.0  # standard deviation in pixels, of the edges
GRID = 4  # pixels between two grid points
COMPONENTS = 50  # principal components; 98 % of the variance of the features on MNIST
_CHUNK = 2_000  # images at a time

# Limits of the uniform distributions of the augmentation.
TURN = 0.10  # radians
SHEAR = 0.10
SIZE = 0.06  # logarithm
SHIFT = 0.05  # share of the width


def upright(images: Tensor) -> Tensor:
    """Centre and shear ``images`` (b, side, side) in [0, 1] so that the rows and columns of ink are uncorrelated."""
    b, side, _ = images.shape
    line = torch.linspace(-1, 1, side, device=images.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    ink = images.sum((1, 2)).clamp_min(1e-6)
    middle_y, middle_x = (images * y).sum((1, 2)) / ink, (images * x).sum((1, 2)) / ink
    off_y, off_x = y - middle_y[:, None, None], x - middle_x[:, None, None]  # (b, side, side)
    # The bounds leave an empty image unchanged.
    slant = (images * off_x * off_y).sum((1, 2)) / (images * off_y.square()).sum((1, 2)).clamp_min(1e-6)  # (b,)
    from_x = x + middle_x[:, None, None] + slant[:, None, None] * y
    from_y = y + middle_y[:, None, None].expand(b, side, side)
    return functional.grid_sample(images[:, None], torch.stack([from_x, from_y], 3), align_corners=True)[:, 0]


def edges(images: Tensor) -> Tensor:
    """Features (b, f) of ``images`` (b, side, side): square roots of blurred edges by direction, rows of length 1."""
    sobel = images.new_tensor([[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]]) / 8
    down = functional.conv2d(images[:, None], sobel[None, None], padding=1)
    across = functional.conv2d(images[:, None], sobel.T[None, None], padding=1)
    strength, angle = torch.hypot(across, down), torch.atan2(down, across)  # (b, 1, side, side)
    directions = torch.arange(DIRECTIONS, device=images.device) * (2 * math.pi / DIRECTIONS)
    weight = torch.cos(angle - directions[None, :, None, None]).clamp_min(0) ** 3  # (b, DIRECTIONS, side, side)
    radius = int(2 * BLUR)
    gaussian = torch.exp(-0.5 * ((torch.arange(2 * radius + 1, device=images.device) - radius) / BLUR) ** 2)
    kernel = (gaussian[:, None] * gaussian / gaussian.sum() ** 2).expand(DIRECTIONS, 1, -1, -1)
    blurred = functional.conv2d(strength * weight, kernel, padding=radius, groups=DIRECTIONS)
    on_grid = blurred[:, :, GRID // 2 :: GRID, GRID // 2 :: GRID].flatten(1).clamp_min(0).sqrt()  # (b, f)
    return functional.normalize(on_grid, dim=1, eps=1e-6)


def edge_features(images: NDArray[np.float32], device: str = "cpu") -> NDArray[np.float32]:
    """Principal components (n, at most 50) of the :func:`edges` of upright ``images`` (n, side * side)."""
    n, pixels = images.shape
    side = math.isqrt(pixels)
    chunks = [
        edges(upright(torch.tensor(images[start : start + _CHUNK], device=device).view(-1, side, side)))
        for start in range(0, n, _CHUNK)
    ]
    return principal_components(torch.cat(chunks), COMPONENTS)


def principal_components(x: Tensor, n_components: int) -> NDArray[np.float32]:
    """The first principal components (n, n_components) of ``x`` (n, m), by decreasing variance."""
    x = x - x.mean(0)
    _, vectors = torch.linalg.eigh((x.T @ x).double())
    components: NDArray[np.float32] = (x @ vectors[:, -n_components:].flip(1).to(x.dtype)).cpu().numpy()
    return components


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate, shear, scale and shift each of ``images`` (b, side * side) a little, at random."""
    b, pixels = images.shape
    side = math.isqrt(pixels)
    u = torch.rand(b, 6, generator=generator, device=images.device) * 2 - 1  # uniform in [-1, 1)
    turn, size_x, size_y = u[:, 0] * TURN, (u[:, 1] * SIZE).exp(), (u[:, 2] * SIZE).exp()
    shear, shift = u[:, 3] * SHEAR, u[:, 4:] * (2 * SHIFT)  # an image is two units wide
    cos, sin = turn.cos(), turn.sin()
    rows = [size_x * cos, size_x * (shear * cos - sin), shift[:, 0], size_y * sin, size_y * (shear * sin + cos)]
    theta = torch.stack([*rows, shift[:, 1]], 1).view(b, 2, 3)
    grid = functional.affine_grid(theta, [b, 1, side, side], align_corners=False)
    return functional.grid_sample(images.view(b, 1, side, side), grid, align_corners=False).view(b, pixels)

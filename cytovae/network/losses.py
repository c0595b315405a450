"""The terms of the loss, one function per equation of the paper.

As printed, equations 4 and 7 hold only the positive half of a binary cross-entropy, without its minus sign; a constant
would minimize them. Here both are the full binary cross-entropy, averaged over all entries, so that the weights π₁ and
π₂ do not depend on the batch size or the number of markers.

Shapes: b cells in the batch, m markers, d code dimensions, k experts. Every loss is a scalar.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

# Lower bound of the probability of a right answer, because eq. 7 is infinite at 0.
SMALLEST_PROBABILITY = 1e-6

# Lower bound of a cluster's variance, because eq. 3 as printed grows without bound when a variance vanishes.
SMALLEST_VARIANCE = 1e-4


def reconstruction_loss(logits: Tensor, x: Tensor) -> Tensor:
    """Eq. 4: binary cross-entropy between markers ``x`` in [0, 1] and ``sigmoid(logits)``, both (b, m)."""
    return functional.binary_cross_entropy_with_logits(logits, x)


def kl_loss(p: Tensor, z: Tensor) -> Tensor:
    """Eq. 3: KL(N(μ_k, I) ‖ N(μ_k, diag σ_k)), averaged over the clusters in the batch.

    σ_k (d,) are the variances of the codes ``z`` (b, d) around μ_k (eq. 6), weighted by ``p`` (b, k) and bounded below.
    Clusters with less than two cells' worth of probability have no variance and are left out.
    """
    weight = p.sum(0)  # (k,)
    mean = cluster_means(p, z)  # (k, d)
    square = (p.T @ z.square()) / weight.clamp_min(1e-6)[:, None]  # (k, d)
    variance = (square - mean.square()).clamp_min(SMALLEST_VARIANCE)  # (k, d)
    divergence = 0.5 * (variance.reciprocal() - 1 + variance.log()).sum(1)  # (k,)
    present = (weight >= 2).to(divergence.dtype)  # (k,)
    return (divergence * present).sum() / present.sum().clamp_min(1)


def cluster_means(p: Tensor, z: Tensor) -> Tensor:
    """Eq. 6: μ (k, d) from probabilities ``p`` (b, k) and codes ``z`` (b, d).

    N_k is the sum of p_ik. The paper divides by a hard count instead, which is 0 for an empty cluster; here its μ is 0.
    """
    return (p.T @ z) / p.sum(0).clamp_min(1e-6)[:, None]


def similarity_loss(p: Tensor, s: Tensor) -> Tensor:
    """Eq. 7: binary cross-entropy between the adjacency ``s`` (b, b), symmetric, 0 or 1, and PPᵀ of ``p`` (b, k)."""
    loss: Tensor = _SimilarityLoss.apply(p, 1 - s)  # type: ignore[no-untyped-call]
    return loss


class _SimilarityLoss(torch.autograd.Function):
    """−log v, where v = |1 − S − PPᵀ| is the probability of the right answer: PPᵀ for similar pairs, else 1 − PPᵀ.

    This is the largest part of a training step, so it has its own gradient. S and PPᵀ are symmetric: one matrix product
    is enough, where autograd takes two, and fewer passes over the pairs.
    """

    @staticmethod
    def forward(ctx: Any, p: Tensor, different: Tensor) -> Tensor:
        u = torch.addmm(different, p, p.T, alpha=-1)  # (b, b)
        v = u.abs().clamp_min_(SMALLEST_PROBABILITY)
        ctx.save_for_backward(p, u, v)
        return -v.log().mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        p, u, v = ctx.saved_tensors
        slope = functional.hardshrink(u, SMALLEST_PROBABILITY).div_(v).div_(v)  # 1 / u; 0 where v is at its bound
        return torch.mm(slope, p).mul_(2 * gradient / u.numel()), None


def depict_loss(p: Tensor, noisy_log_p: Tensor) -> Tensor:
    """Eq. 8: cross-entropy between the target q (eq. 9) of ``p`` and the noisy log-probabilities, both (b, k)."""
    return -(depict_target(p) * noisy_log_p).sum(1).mean()


def depict_target(p: Tensor) -> Tensor:
    """Eq. 9: target q (b, k) of the clean probabilities ``p`` (b, k), without gradient; rows sum to 1."""
    p = p.detach()
    q = p / p.sum(0).clamp_min(1e-12).sqrt()  # (b, k)
    return q / q.sum(1, keepdim=True)


def total_loss(
    reconstruction: Tensor, kl: Tensor, similarity: Tensor, depict: Tensor, weights: tuple[float, float, float, float]
) -> Tensor:
    """Eq. 11: the weighted sum of the four terms; ``weights`` are in the same order."""
    return torch.stack([reconstruction, kl, similarity, depict]) @ reconstruction.new_tensor(weights)

"""The objective, one function for each equation of the paper.

As printed, eqs. 4 and 7 hold only the positive half of a binary cross-entropy, without its minus sign, and would be
minimised by a constant. Here both are the whole binary cross-entropy, averaged over entries, so that the weights
π₁ and π₂ do not depend on the batch size or the number of markers.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

SMALLEST_PROBABILITY = 1e-6  # of a right answer: eq. 7 is infinite at 0


SMALLEST_VARIANCE = 1e-4  # eq. 3 as printed grows without bound when a cluster's variance vanishes


def reconstruction_loss(logits: Tensor, x: Tensor) -> Tensor:
    """Eq. 4: binary cross-entropy between markers ``x`` in [0, 1] and ``sigmoid(logits)``, both (b, m). A scalar."""
    return functional.binary_cross_entropy_with_logits(logits, x)


def similarity_loss(p: Tensor, s: Tensor) -> Tensor:
    """Eq. 7: binary cross-entropy between adjacency ``s`` (b, b), symmetric, 0 or 1, and PPᵀ of ``p`` (b, k).

    A scalar.
    """
    loss: Tensor = _SimilarityLoss.apply(p, 1 - s)  # type: ignore[no-untyped-call]
    return loss


class _SimilarityLoss(torch.autograd.Function):
    """−log of the probability given to the right answer, v = |1 − S − PPᵀ|: PPᵀ where similar, 1 − PPᵀ where not.

    With its gradient, because S and PPᵀ are symmetric: one product of matrices where autograd makes two, and fewer
    passes over the pairs; of a training step it is the largest part.
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
        slope = functional.hardshrink(u, SMALLEST_PROBABILITY).div_(v).div_(v)  # 1 / u; 0 where v is the bound
        return torch.mm(slope, p).mul_(2 * gradient / u.numel()), None


def depict_target(p: Tensor) -> Tensor:
    """Eq. 9: q (b, k) from the clean probabilities ``p`` (b, k), without gradient; rows sum to 1."""
    p = p.detach()
    q = p / p.sum(0).clamp_min(1e-12).sqrt()  # (b, k)
    return q / q.sum(1, keepdim=True)


def depict_loss(p: Tensor, noisy_log_p: Tensor) -> Tensor:
    """Eq. 8: cross-entropy of the noisy branch's log-probabilities (b, k) under the target q of eq. 9. A scalar."""
    return -(depict_target(p) * noisy_log_p).sum(1).mean()


def cluster_means(p: Tensor, z: Tensor) -> Tensor:
    """Eq. 6: μ (k, d) from probabilities ``p`` (b, k) and codes ``z`` (b, d).

    N_k is the sum of p_ik here, where the paper divides a soft sum by a hard count; an empty cluster gets μ = 0.
    """
    return (p.T @ z) / p.sum(0).clamp_min(1e-6)[:, None]


def kl_loss(p: Tensor, z: Tensor) -> Tensor:
    """Eq. 3: KL(N(μ_k, I) ‖ N(μ_k, diag σ_k)) averaged over the clusters in the batch. A scalar.

    σ_k (d,) are the variances of the codes ``z`` (b, d) about μ_k (eq. 6), weighted by ``p`` (b, k) and bounded below.
    Clusters holding less than two cells' worth of probability have no variance to speak of and are left out.
    """
    weight = p.sum(0)  # (k,)
    mean = cluster_means(p, z)  # (k, d)
    square = (p.T @ z.square()) / weight.clamp_min(1e-6)[:, None]  # (k, d)
    variance = (square - mean.square()).clamp_min(SMALLEST_VARIANCE)  # (k, d)
    divergence = 0.5 * (variance.reciprocal() - 1 + variance.log()).sum(1)  # (k,)
    present = (weight >= 2).to(divergence.dtype)
    return (divergence * present).sum() / present.sum().clamp_min(1)


def total_loss(
    reconstruction: Tensor, kl: Tensor, similarity: Tensor, depict: Tensor, weights: tuple[float, float, float, float]
) -> Tensor:
    """Eq. 11, with ``weights`` in the order of the terms."""
    return torch.stack([reconstruction, kl, similarity, depict]) @ reconstruction.new_tensor(weights)

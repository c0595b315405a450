"""The objective, one function for each equation of the paper.

As printed, eqs. 4 and 7 hold only the positive half of a binary cross-entropy, without its minus sign, and would be
minimised by a constant. Here both are the whole binary cross-entropy, averaged over entries, so that the weights
π₁ and π₂ do not depend on the batch size or the number of markers.
"""

import torch
from torch import Tensor
from torch.nn import functional

SMALLEST_VARIANCE = 1e-4  # eq. 3 as printed grows without bound when a cluster's variance vanishes


def reconstruction_loss(logits: Tensor, x: Tensor) -> Tensor:
    """Eq. 4: binary cross-entropy between markers ``x`` in [0, 1] and ``sigmoid(logits)``, both (b, m). A scalar."""
    return functional.binary_cross_entropy_with_logits(logits, x)


def similarity_loss(p: Tensor, s: Tensor) -> Tensor:
    """Eq. 7: binary cross-entropy between adjacency ``s`` (b, b), 0 or 1, and PPᵀ of ``p`` (b, k). A scalar.

    Written as −log of the probability given to the right answer, which needs one logarithm an entry.
    """
    right = 1 - (s - p @ p.T).abs()  # (b, b): PPᵀ where similar, 1 − PPᵀ where not
    return -right.clamp_min(1e-6).log().mean()


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

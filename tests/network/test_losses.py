"""Each equation of the loss, by hand, compared with another library, and by its invariants.

Tensors are float32; 1e-5 is about a hundred times the rounding error of numbers near 1.
"""

from math import log

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from cytovae.network.losses import (
    cluster_means,
    depict_loss,
    depict_target,
    kl_loss,
    reconstruction_loss,
    similarity_loss,
    total_loss,
)

CLOSE = 1e-5


def probabilities(b: int, k: int, seed: int, sharpness: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(sharpness * torch.randn(b, k, generator=generator), 1)


def adjacency(labels: list[int]) -> Tensor:
    label = torch.tensor(labels)
    return (label[:, None] == label[None]).float()


# --- eq. 4 ------------------------------------------------------------------------------------------------------------


def test_reconstruction_by_hand() -> None:
    # sigmoid(0) = 1/2, sigmoid(ln 3) = 3/4.
    logits, x = torch.tensor([[0.0, log(3)]]), torch.tensor([[1.0, 0.25]])
    # −ln 1/2 = 0.693147;  −(0.25 ln 0.75 + 0.75 ln 0.25) = 0.071921 + 1.039721 = 1.111641;  mean 0.902394
    assert reconstruction_loss(logits, x).item() == pytest.approx(0.902394, abs=CLOSE)


def test_reconstruction_equals_the_log_loss_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(1)
    logits, x = torch.randn(20, 5, generator=generator), torch.rand(20, 5, generator=generator)
    # A target of 0.3 equals a target of 1 with weight 0.3 and a target of 0 with weight 0.7.
    share = x.double().numpy().ravel()
    predicted = torch.sigmoid(logits.double()).numpy().ravel()
    expected = log_loss(
        np.repeat([1, 0], share.size), np.tile(predicted, 2), sample_weight=np.concatenate([share, 1 - share])
    )
    assert reconstruction_loss(logits, x).item() == pytest.approx(expected, abs=CLOSE)


def test_no_reconstruction_is_better_than_the_markers_themselves() -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(30, 4, generator=generator).clamp(0.01, 0.99)
    best = reconstruction_loss(torch.logit(x), x)
    for _ in range(20):
        assert reconstruction_loss(torch.logit(x) + 0.1 * torch.randn(30, 4, generator=generator), x) > best


# --- eq. 7 ------------------------------------------------------------------------------------------------------------


def test_similarity_by_hand() -> None:
    p = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    # PPᵀ = [[1, 1/2], [1/2, 1/2]] against the identity: −ln 1, and three times −ln 1/2; 3 · 0.693147 / 4 = 0.519860
    assert similarity_loss(p, torch.eye(2)).item() == pytest.approx(0.519860, abs=CLOSE)


@pytest.mark.parametrize("sharpness", [0.5, 2.0, 6.0])
def test_similarity_equals_the_log_loss_of_scikit_learn(sharpness: float) -> None:
    p = probabilities(24, 6, 3, sharpness)
    s = adjacency([i % 5 for i in range(24)])
    predicted = (p.double() @ p.double().T).numpy().ravel().clip(1e-6, 1 - 1e-6)
    expected = log_loss(s.numpy().ravel().astype(int), predicted)
    # In float32, 1 − PPᵀ has one correct digit if it is about 1e-6.
    assert similarity_loss(p, s).item() == pytest.approx(expected, abs=10 * CLOSE)


def test_gradient_of_similarity_equals_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(9, 4, generator=generator, dtype=torch.double, requires_grad=True)
    s = adjacency([i % 3 for i in range(9)]).double()
    # With the default tolerances: steps of 1e-6, errors of 1e-5.
    assert torch.autograd.gradcheck(lambda z: 3 * similarity_loss(torch.softmax(z, 1), s), (logits,))


def test_gradient_of_similarity_is_zero_at_the_bound_of_the_logarithm() -> None:
    # Two certain cells that are wrongly together: −ln 10⁻⁶ regardless of p, and −ln 1 for each with itself.
    p = torch.eye(3)[[0, 0]].requires_grad_()
    (gradient,) = torch.autograd.grad(similarity_loss(p, torch.eye(2)), p)
    # d(−ln pᵢ·pᵢ)/dpᵢ = −2 pᵢ / pᵢ·pᵢ, divided by four, because the loss is the mean of four pairs.
    torch.testing.assert_close(gradient, torch.tensor([[-0.5, 0, 0]] * 2))


def test_similarity_does_not_depend_on_the_order_of_experts_or_cells() -> None:
    p, s = probabilities(16, 5, 4), adjacency([i // 4 for i in range(16)])
    loss = similarity_loss(p, s).item()
    assert similarity_loss(p[:, torch.tensor([3, 0, 4, 1, 2])], s).item() == pytest.approx(loss, abs=CLOSE)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    assert similarity_loss(p[order], s[order][:, order]).item() == pytest.approx(loss, abs=CLOSE)


def test_one_cluster_for_all_cells_is_not_the_minimum() -> None:
    """With a minus sign, eq. 7 as printed would be 0 for it."""
    labels = [0, 0, 1, 1, 2, 2]
    s = adjacency(labels)
    right = torch.eye(3)[labels]
    together = torch.eye(3)[[0] * 6]
    assert similarity_loss(right, s).item() == pytest.approx(0, abs=CLOSE)
    # 24 of 36 pairs are of different populations; each costs −ln of a probability close to 0.
    assert similarity_loss(together, s).item() > 24 / 36 * 10


def test_similarity_of_certain_and_wrong_cells_is_finite_with_a_finite_gradient() -> None:
    logits = torch.tensor([[60.0, 0.0], [0.0, 60.0], [60.0, 0.0]], requires_grad=True)
    loss = similarity_loss(torch.softmax(logits, 1), adjacency([0, 0, 1]))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


def test_similarity_pulls_similar_cells_together_and_pushes_others_apart() -> None:
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    (pull,) = torch.autograd.grad(similarity_loss(torch.softmax(logits, 1), torch.ones(2, 2)), logits)
    p = torch.softmax(logits.detach(), 1)
    after = torch.softmax(logits.detach() - pull, 1)
    assert after[0] @ after[1] > p[0] @ p[1]
    (push,) = torch.autograd.grad(similarity_loss(torch.softmax(logits, 1), torch.eye(2)), logits)
    after = torch.softmax(logits.detach() - push, 1)
    assert after[0] @ after[1] < p[0] @ p[1]


# --- eqs. 8 and 9 -----------------------------------------------------------------------------------------------------

FIVE_EQUAL_ROWS = torch.tensor([[0.8, 0.2]]).repeat(5, 1)  # column sums 4 and 1


def test_depict_target_by_hand() -> None:
    # 0.8 / √4 = 0.4 and 0.2 / √1 = 0.2: two thirds and one third.
    torch.testing.assert_close(depict_target(FIVE_EQUAL_ROWS), torch.tensor([[2 / 3, 1 / 3]]).repeat(5, 1))


def test_depict_loss_by_hand() -> None:
    noisy = torch.tensor([[0.75, 0.25]]).repeat(5, 1).log()
    # −(2/3 ln 0.75 + 1/3 ln 0.25) = 0.191788 + 0.462098 = 0.653886
    assert depict_loss(FIVE_EQUAL_ROWS, noisy).item() == pytest.approx(0.653886, abs=CLOSE)


def test_depict_equals_a_plain_loop() -> None:
    p, noisy = probabilities(11, 4, 5).double().numpy(), probabilities(11, 4, 6).double().numpy()
    expected = 0.0
    for i in range(11):
        share = [p[i, k] / p[:, k].sum() ** 0.5 for k in range(4)]
        for k in range(4):
            expected -= share[k] / sum(share) * log(noisy[i, k]) / 11
    loss = depict_loss(torch.tensor(p).float(), torch.tensor(noisy).float().log())
    assert loss.item() == pytest.approx(expected, abs=CLOSE)


def test_depict_target_sums_to_one_even_with_an_unused_expert() -> None:
    p = torch.cat([probabilities(9, 3, 7), torch.zeros(9, 1)], 1)
    q = depict_target(p)
    torch.testing.assert_close(q.sum(1), torch.ones(9))
    assert (q[:, 3] == 0).all()


def test_depict_target_favors_rare_clusters() -> None:
    """Of two equally likely clusters the smaller one gets the larger share of the target."""
    p = torch.tensor([[0.5, 0.5], [0.9, 0.1], [0.9, 0.1]])
    q = depict_target(p)
    assert q[0, 1] > q[0, 0]


def test_no_gradient_flows_through_the_depict_target() -> None:
    p = probabilities(6, 3, 8).requires_grad_()
    noisy = probabilities(6, 3, 9).log().requires_grad_()
    assert not depict_target(p).requires_grad
    for_p, for_noisy = torch.autograd.grad(depict_loss(p, noisy), (p, noisy), allow_unused=True)
    assert for_p is None
    torch.testing.assert_close(for_noisy, -depict_target(p) / 6)  # eq. 8 is linear in the logarithms


# --- eq. 6 ------------------------------------------------------------------------------------------------------------


def test_cluster_means_by_hand() -> None:
    p = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    z = torch.tensor([[0.0], [2.0], [4.0]])
    # N = (1.5, 1.5);  μ = (0 + 0.5·2)/1.5 = 2/3 and (0.5·2 + 4)/1.5 = 10/3
    torch.testing.assert_close(cluster_means(p, z), torch.tensor([[2 / 3], [10 / 3]]))


def test_cluster_means_of_certain_cells_are_the_means_of_the_clusters() -> None:
    generator = torch.Generator().manual_seed(10)
    z = torch.randn(30, 4, generator=generator)
    label = torch.arange(30) % 3
    expected = np.stack([z.numpy()[label.numpy() == k].mean(0) for k in range(3)])
    np.testing.assert_allclose(cluster_means(torch.eye(3)[label], z).numpy(), expected, atol=CLOSE)


def test_an_empty_cluster_has_mean_zero() -> None:
    p = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert (cluster_means(p, torch.tensor([[3.0], [5.0]])) == torch.tensor([[4.0], [0.0]])).all()


# --- eq. 3 ------------------------------------------------------------------------------------------------------------

# Variances 1 and 4 around (0, 0) in the first cluster; one cell in the second, which thus has no variance.
TWO_AND_ONE = torch.tensor([[1.0, 2.0], [-1.0, -2.0], [9.0, 9.0]])
THEIR_CLUSTERS = torch.eye(2)[[0, 0, 1]]


def test_kl_by_hand() -> None:
    # ½ [(1/1 − 1 + ln 1) + (1/4 − 1 + ln 4)] = ½ (0 − 0.75 + 1.386294) = 0.318147
    assert kl_loss(THEIR_CLUSTERS, TWO_AND_ONE).item() == pytest.approx(0.318147, abs=CLOSE)


def test_kl_equals_that_of_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(11)
    scale = torch.tensor([0.5, 1.0, 2.0])
    z = torch.randn(60, 3, generator=generator) * scale + 1.0
    label = torch.arange(60) % 4
    expected = []
    for k in range(4):
        own = z[label == k]
        mean, variance = own.mean(0), own.var(0, correction=0)
        expected.append(
            kl_divergence(MultivariateNormal(mean, torch.eye(3)), MultivariateNormal(mean, variance.diag())).item()
        )
    assert kl_loss(torch.eye(4)[label], z).item() == pytest.approx(float(np.mean(expected)), abs=10 * CLOSE)


def test_kl_is_zero_for_unit_variance_and_positive_for_any_other() -> None:
    z = torch.tensor([[1.0], [-1.0]])
    p = torch.ones(2, 1)
    assert kl_loss(p, z).item() == pytest.approx(0, abs=CLOSE)
    assert kl_loss(p, 2 * z) > 0.1
    assert kl_loss(p, z / 2) > 0.1


def test_kl_does_not_depend_on_the_cluster_means() -> None:
    p = probabilities(40, 3, 12)
    z = torch.randn(40, 2, generator=torch.Generator().manual_seed(13))
    # Shifted by 8, the squares are about 64 times the variances, and so is their rounding error of 6e-8.
    assert kl_loss(p, z + 8).item() == pytest.approx(kl_loss(p, z).item(), abs=10 * CLOSE)


def test_kl_of_a_cluster_without_variance_is_finite() -> None:
    z = torch.ones(4, 2, requires_grad=True)
    loss = kl_loss(torch.ones(4, 1), z)
    (gradient,) = torch.autograd.grad(loss, z)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


def test_kl_is_zero_if_no_cluster_has_two_cells() -> None:
    assert kl_loss(torch.eye(3), torch.randn(3, 2, generator=torch.Generator().manual_seed(0))).item() == 0


# --- eq. 11 -----------------------------------------------------------------------------------------------------------


def test_the_total_by_hand() -> None:
    terms = torch.tensor([1.0, 10.0, 100.0, 1000.0]).unbind()
    # 2·1 + 0.5·10 + 3·100 + 0.1·1000 = 2 + 5 + 300 + 100
    assert total_loss(terms[0], terms[1], terms[2], terms[3], (2.0, 0.5, 3.0, 0.1)).item() == pytest.approx(
        407, rel=1e-6
    )


def test_gradients_are_the_weights_of_the_terms() -> None:
    a, b, c, d = (torch.tensor(float(i), requires_grad=True) for i in range(4))
    gradients = torch.autograd.grad(total_loss(a, b, c, d, (1.0, 0.0, 2.0, 0.25)), (a, b, c, d))
    assert [gradient.item() for gradient in gradients] == [1.0, 0.0, 2.0, 0.25]

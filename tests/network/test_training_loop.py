"""The training loop: what it learns, records and draws, and what it does not change."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytovae.errors import NumericalError
from cytovae.network.model import MoeSimVae
from cytovae.network.training_loop import Augment, ProgressRecord, _correct_frequencies, build_network, train
from cytovae.populations.similarity import Similarity
from cytovae.settings import Settings, preset

pytestmark = pytest.mark.slow

SMALL = Settings(
    experts=6,
    code=3,
    encoder_depth=1,
    encoder_width=16,
    clustering_width=16,
    expert_width=4,
    batch=64,
    steps=120,
)
MARKERS = 5


def populations(n: int = 300, seed: int = 0) -> tuple[Tensor, NDArray[np.int64]]:
    """Three populations in [0, 1]."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 3
    centres = rng.uniform(0.15, 0.85, (3, MARKERS))
    x = np.clip(centres[label] + rng.normal(0, 0.04, (n, MARKERS)), 0, 1)
    return torch.from_numpy(x.astype(np.float32)), label


def by_label(label: NDArray[np.int64]) -> Similarity:
    return Similarity("partition", torch.zeros(len(label), 2), torch.from_numpy(label), 2.0, 10, False)


@dataclass(frozen=True, eq=False)
class Recording(Similarity):
    """A similarity that records the rows of every batch."""

    rows: list[NDArray[np.int64]] = field(default_factory=list)

    def block(self, rows: Tensor) -> Tensor:
        self.rows.append(rows.numpy().copy())
        return super().block(rows)


def recording(label: NDArray[np.int64]) -> Recording:
    return Recording("partition", torch.zeros(len(label), 2), torch.from_numpy(label), 2.0, 10, False)


def trained(
    settings: Settings = SMALL, seed: int = 0, weight: NDArray[np.float64] | None = None
) -> tuple[MoeSimVae, list[ProgressRecord]]:
    x, label = populations()
    network = build_network(MARKERS, settings, seed)
    return network, list(train(network, x, by_label(label), weight, settings, seed))


def same_weights(a: MoeSimVae, b: MoeSimVae) -> bool:
    return all(
        torch.equal(left, right) for left, right in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


# --- learning ---------------------------------------------------------------------------------------------------------


def test_the_losses_fall_and_populations_are_separated() -> None:
    network, records = trained(replace(SMALL, steps=300, noisy_share=0.0))
    assert records[-1].similarity < 0.2 * records[0].similarity
    assert records[-1].reconstruction < records[0].reconstruction
    assert records[-1].total < records[0].total
    x, label = populations()
    with torch.inference_mode():
        expert = network.assign(x).argmax(1).numpy()
    # No expert has cells of two populations.
    assert all(len(np.unique(label[expert == k])) == 1 for k in np.unique(expert))


def test_only_similar_cells_get_the_same_expert() -> None:
    network, _ = trained(replace(SMALL, steps=300))
    x, label = populations()
    with torch.inference_mode():
        p = network.assign(x)
    together = (p @ p.T).numpy()
    same = label[:, None] == label[None]
    assert together[same].mean() > 0.9
    assert together[~same].mean() < 0.1


def test_the_network_ends_in_evaluation_mode() -> None:
    network, _ = trained(replace(SMALL, steps=5))
    assert not any(module.training for module in network.modules())


# --- records ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "expected"), [(60, [25, 50, 60]), (50, [25, 50]), (3, [3]), (0, [])])
def test_there_is_a_record_every_25_steps_and_at_the_last(steps: int, expected: list[int]) -> None:
    _, records = trained(replace(SMALL, steps=steps))
    assert [record.step for record in records] == expected


@pytest.mark.parametrize("steps", [1, 2, 10, 19, 20])
def test_training_works_with_few_steps(steps: int) -> None:
    network, records = trained(replace(SMALL, steps=steps))
    assert [record.step for record in records] == [steps]
    assert not same_weights(network, build_network(MARKERS, SMALL, 0))


def test_no_steps_do_not_change_the_network() -> None:
    network, _ = trained(replace(SMALL, steps=0))
    assert same_weights(network, build_network(MARKERS, SMALL, 0))


def test_the_total_is_the_weighted_sum_of_the_losses() -> None:
    settings = replace(
        SMALL, reconstruction_weight=0.5, similarity_weight=2.0, depict_weight=0.3, kl_weight=0.7, depict_from=0.0
    )
    _, records = trained(settings)
    for record in records:
        expected = 0.5 * record.reconstruction + 0.7 * record.kl + 2.0 * record.similarity + 0.3 * record.depict
        assert record.total == pytest.approx(expected, rel=1e-5)
        assert record.kl > 0
        assert record.depict > 0


def test_depict_starts_at_its_share_of_the_steps() -> None:
    _, records = trained(replace(SMALL, steps=100, depict_weight=0.1, depict_from=0.5))
    assert [record.depict > 0 for record in records] == [False, False, True, True]  # 25, 50, 75, 100


def test_terms_without_weight_are_not_computed() -> None:
    _, records = trained(replace(SMALL, depict_weight=0.0, kl_weight=0.0))
    assert {(record.depict, record.kl) for record in records} == {(0.0, 0.0)}


# --- determinism ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [False, True])
def test_a_seed_reproduces_the_weights_bit_for_bit(noise: bool) -> None:
    settings = replace(SMALL, posterior_noise=noise, kl_weight=0.1 if noise else 0.0, depict_from=0.0)
    first, records = trained(settings, seed=3)
    torch.rand(5)  # the global generator does not matter
    second, again = trained(settings, seed=3)
    assert same_weights(first, second)
    assert records == again
    assert not same_weights(first, trained(settings, seed=4)[0])


def test_posterior_noise_has_an_effect() -> None:
    plain, _ = trained(replace(SMALL, steps=12))
    noisy, _ = trained(replace(SMALL, steps=12, posterior_noise=True))
    assert not same_weights(plain, noisy)


def test_the_global_generators_do_not_change() -> None:
    before, numpy_before = torch.get_rng_state(), str(np.random.get_state())  # noqa: NPY002
    trained(replace(SMALL, depict_from=0.0))
    assert torch.equal(torch.get_rng_state(), before)
    assert str(np.random.get_state()) == numpy_before  # noqa: NPY002


def test_the_global_generator_does_not_change_when_training_is_stopped() -> None:
    x, label = populations()
    before = torch.get_rng_state()
    network = build_network(MARKERS, SMALL, 0)
    records = train(network, x, by_label(label), None, SMALL, 0)
    assert next(records).step == 25
    del records
    assert torch.equal(torch.get_rng_state(), before)


def test_random_numbers_of_caller_and_loop_are_independent() -> None:
    """A caller that draws numbers between two records changes neither them nor the training."""
    settings = replace(SMALL, depict_from=0.0)
    expected, _ = trained(settings)
    x, label = populations()
    network = build_network(MARKERS, settings, 0)
    before = torch.get_rng_state()
    without_training = torch.rand(4)
    torch.set_rng_state(before)
    drawn_between = []
    for _ in train(network, x, by_label(label), None, settings, 0):
        drawn_between.append(torch.rand(1))
    assert torch.equal(torch.cat(drawn_between)[:4], without_training)
    assert same_weights(network, expected)


# --- divergence -------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_is_a_numerical_error() -> None:
    x, label = populations()
    x[7, 2] = torch.nan
    network = build_network(MARKERS, SMALL, 0)
    before = torch.get_rng_state()
    with pytest.raises(NumericalError, match=r"the loss at step 25 is nan; .*smaller learning rate"):
        list(train(network, x, by_label(label), None, SMALL, 0))
    assert torch.equal(torch.get_rng_state(), before)


# --- batches ----------------------------------------------------------------------------------------------------------


def drawn(weight: NDArray[np.float64] | None, n: int, settings: Settings, seed: int = 0) -> list[NDArray[np.int64]]:
    x, label = populations(n)
    similarity = recording(label)
    list(train(build_network(MARKERS, settings, seed), x, similarity, weight, settings, seed))
    assert len(similarity.rows) == settings.steps
    return similarity.rows


def test_without_weights_every_cell_is_drawn_once_per_epoch() -> None:
    rows = drawn(None, 192, replace(SMALL, batch=64, steps=12))
    for epoch in range(4):
        assert sorted(np.concatenate(rows[3 * epoch : 3 * epoch + 3])) == list(range(192))
    assert not np.array_equal(rows[0], rows[3])  # each epoch has its own order


def test_a_batch_has_at_most_all_cells() -> None:
    assert [sorted(row) for row in drawn(None, 40, replace(SMALL, batch=512, steps=2))] == [list(range(40))] * 2


def test_cells_are_drawn_in_proportion_to_their_weights() -> None:
    n, steps, batch = 60, 400, 128
    weight = np.arange(n, dtype=np.float64)  # the first cell is never drawn
    count = np.bincount(np.concatenate(drawn(weight, n, replace(SMALL, batch=batch, steps=steps), seed=5)), minlength=n)
    draws = steps * min(batch, n)
    share = weight / weight.sum()
    assert count.sum() == draws
    assert count[0] == 0
    # Five standard deviations of a binomial count; 60 counts stay within with probability 0.99997.
    assert (np.abs(count - draws * share) <= 5 * np.sqrt(draws * share * (1 - share))).all()


def test_a_cell_without_weight_is_never_drawn() -> None:
    x, label = populations()
    x[[7, 299]] = torch.nan
    weight = np.ones(300)
    weight[[7, 299]] = 0
    records = list(train(build_network(MARKERS, SMALL, 0), x, by_label(label), weight, SMALL, 0))
    assert np.isfinite(records[-1].total)


def test_probabilities_are_corrected_for_how_often_populations_were_drawn() -> None:
    """Bayes' rule: a population drawn three times as often as its share has a third of its odds afterwards."""
    network = build_network(MARKERS, SMALL, 0).eval()
    population = torch.tensor([0] * 90 + [1] * 10)
    weight = np.bincount(population)[population] ** -0.5  # 1 : 3
    votes = torch.tensor([[9.0, 1], [9, 1], [9, 1], [1, 9], [1, 9], [0, 0]])  # the last expert has none: population 0
    cells, _ = populations(20)
    odds = []
    for _ in range(2):
        with torch.no_grad():
            p = network.assign(cells)
        odds.append(p[:, [0, 1, 2, 5]].sum(1) / p[:, 3:5].sum(1))
        _correct_frequencies(network, votes, population, weight)
    torch.testing.assert_close(odds[1], 3 * odds[0])


def test_the_correction_is_all_that_differs_without_it() -> None:
    """Training is the same; afterwards the logits of experts differ by constants."""
    x, label = populations()
    kept = label > 0  # 100 cells of each of two populations
    kept[5::3] = False  # fewer of the second
    x, label = x[kept], label[kept] - 1
    similarity = replace(by_label(label), populations=torch.from_numpy(label))
    weight = np.bincount(label)[label] ** -0.5
    biases = []
    for correct in (True, False):
        network = build_network(MARKERS, SMALL, 0)
        list(train(network, x, similarity, weight, SMALL, 0, correct=correct))
        biases.append(network.state_dict())
    for name, tensor in biases[0].items():
        assert torch.equal(tensor, biases[1][name]) == (name != "clustering.out.bias")


# --- augmentation -----------------------------------------------------------------------------------------------------


def trained_with(augment: Augment | None, settings: Settings) -> MoeSimVae:
    x, label = populations()
    network = build_network(MARKERS, settings, 0)
    list(train(network, x, by_label(label), None, settings, 0, augment=augment))
    return network


def test_augmentation_changes_the_input_and_not_the_target() -> None:
    """The encoder sees nothing but zeros: the best reconstruction is the mean of the targets, not zero."""
    settings = replace(SMALL, input_noise=0.0, steps=400, learning_rate=0.02)
    network = trained_with(lambda cells, _: torch.zeros_like(cells), settings)
    x, _ = populations()
    with torch.inference_mode():
        reconstructed = torch.sigmoid(network(torch.zeros(1, MARKERS)).logits)[0]
    torch.testing.assert_close(reconstructed, x.mean(0), atol=0.05, rtol=0)


def test_augmentation_draws_from_the_generator_of_the_loop() -> None:
    def jitter(cells: Tensor, generator: torch.Generator) -> Tensor:
        return cells + 0.1 * torch.randn(cells.shape, generator=generator)

    settings = replace(SMALL, steps=20)
    assert same_weights(trained_with(jitter, settings), trained_with(jitter, settings))
    assert not same_weights(trained_with(jitter, settings), trained_with(None, settings))


# --- networks ---------------------------------------------------------------------------------------------------------


def test_a_network_depends_on_its_seed_only() -> None:
    before = torch.get_rng_state()
    first = build_network(MARKERS, SMALL, 1)
    torch.manual_seed(99)
    assert same_weights(first, build_network(MARKERS, SMALL, 1))
    assert not same_weights(first, build_network(MARKERS, SMALL, 2))
    torch.set_rng_state(before)


@pytest.mark.parametrize("name", ["paper-weber", "paper-bodenmiller"])
def test_the_presets_of_the_paper_train(name: str) -> None:
    """Their similarity loss falls, too, with a constant learning rate."""
    settings = replace(preset(name), steps=150)
    network, records = trained(settings)
    assert records[-1].step == 150
    assert records[-1].similarity < records[0].similarity
    assert network.decoder.bias_out.shape == (settings.experts, MARKERS)


# --- populations ------------------------------------------------------------------------------------------------------


def test_the_population_term_separates_populations() -> None:
    """All cells are in one micro-cluster, so eq. 7 favors one expert. Only the population term separates them."""
    x, label = populations(600)
    micro_cluster = torch.zeros(600, dtype=torch.int64)
    similarity = Similarity("partition", torch.zeros(600, 2), micro_cluster, 2.0, 10, False, torch.from_numpy(label))
    purity = {}
    for weight in (0.0, 10.0):
        settings = replace(SMALL, population_weight=weight, populations_from=0.0, steps=400)
        network = build_network(MARKERS, settings, 0)
        list(train(network, x, similarity, None, settings, 0))
        with torch.inference_mode():
            expert = network.assign(x).argmax(1).numpy()
        counts = np.bincount(expert * 3 + label, minlength=18).reshape(6, 3)
        purity[weight] = counts.max(1).sum() / 600
    assert purity[10.0] > 0.95
    assert purity[0.0] < 0.5

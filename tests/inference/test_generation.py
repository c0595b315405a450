"""Generated cells: known distributions are reproduced, clusters stay apart, and seeds and thresholds work."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from cytovae.cells import CellTable
from cytovae.errors import ModelError, UsageError
from cytovae.inference.assigner import assign
from cytovae.inference.cell_distribution import CellDistribution, distribution_of
from cytovae.inference.generation import MOST_DRAWS_PER_CELL, draw_cells, events_of_clusters, generate
from cytovae.inference.trained_model import TrainedModel
from cytovae.network.scaling import Scaling
from cytovae.settings import Settings, generating
from cytovae.study.train_model import learn

pytestmark = pytest.mark.slow

SMALL = Settings(
    experts=20, batch=128, steps=300, umap_epochs=80, encoder_width=32, clustering_width=32, views=2, support=2
)
CENTRES = np.array([[1, 1, 5, 5], [5, 1, 1, 5], [1, 5, 1, 1]], np.float32)


def cells(n: int, seed: int) -> NDArray[np.float32]:
    """Three populations of n cells, 0.4 wide, in four markers."""
    rng = np.random.default_rng(seed)
    return (np.repeat(CENTRES, n, 0) + rng.normal(0, 0.4, (3 * n, 4))).astype(np.float32)


def table(values: NDArray[np.float32]) -> CellTable:
    return CellTable(values, ("a", "b", "c", "d"), ("f",), np.zeros(len(values), np.int32), np.arange(len(values)))


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return learn(table(cells(300, 0)), generating(SMALL), seed=0)


# --- experts with known cells ---

# A linear decoder.
MIX = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, -1.0]], np.float32)


def decode(code: NDArray[np.float32], _expert: int) -> NDArray[np.float32]:
    return code @ MIX


def one_expert(n: int, values_of: object = None) -> tuple[CellDistribution, NDArray[np.float32]]:
    rng = np.random.default_rng(1)
    codes = rng.multivariate_normal([2, -1], [[1, 0.6], [0.6, 1]], n).astype(np.float32)
    noise = rng.multivariate_normal(np.zeros(3), [[0.3, 0.2, 0], [0.2, 0.3, 0], [0, 0, 0.1]], n).astype(np.float32)
    values = decode(codes, 0) + noise
    if callable(values_of):
        values = values_of(values)
    experts = np.zeros(n, np.int64)
    return distribution_of(codes, experts, noise, values, n_experts=1, decode=decode), values


def test_a_gaussian_is_reproduced() -> None:
    """Mean and covariance by hand: those of the codes through the decoder, plus those of the noise.

    Three standard errors of a variance of up to 3.4 are 0.15 with 20,000 draws of 20,000 cells.
    """
    fitted, _ = one_expert(20_000)
    drawn = draw_cells(fitted, np.ones(1), 20_000, decode, np.random.default_rng(2))
    codes = np.array([[1, 0.6], [0.6, 1]])
    covariance = MIX.T @ codes @ MIX + [[0.3, 0.2, 0], [0.2, 0.3, 0], [0, 0, 0.1]]
    assert np.allclose(drawn.mean(0), np.array([2, -1]) @ MIX, atol=0.05)
    assert np.allclose(np.cov(drawn.T), covariance, atol=0.15)


def test_zeros_and_tails_of_a_marker_are_reproduced() -> None:
    """Counts below 1 are recorded as 0.

    The distribution interpolates between 37 quantiles of 20,000 cells: the share of zeros is right within half a step
    (1.6 %), quantiles on average within a fiftieth of the range.
    """
    fitted, observed = one_expert(20_000, lambda values: np.where(values > 1, values, 0).astype(np.float32))
    drawn = draw_cells(fitted, np.ones(1), 20_000, decode, np.random.default_rng(2))
    assert 0.1 < (observed[:, 0] == 0).mean() < 0.9
    levels = np.linspace(0.02, 0.98, 25)
    for marker in range(3):
        assert abs((drawn[:, marker] == 0).mean() - (observed[:, marker] == 0).mean()) < 0.025
        apart = np.quantile(drawn[:, marker], levels) - np.quantile(observed[:, marker], levels)
        assert np.abs(apart).mean() < np.ptp(observed[:, marker]) / 50
    # The copula keeps the rank correlation of two markers that share code and noise.
    ranks = [np.corrcoef(np.argsort(np.argsort(part[:, :2], 0), 0).T)[0, 1] for part in (observed, drawn)]
    assert ranks[1] == pytest.approx(ranks[0], abs=0.05)


def test_experts_are_drawn_in_proportion_to_their_cells() -> None:
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(900, 2)).astype(np.float32)
    experts = np.repeat([0, 1, 2], 300)
    values = (codes @ MIX + 100 * experts[:, None]).astype(np.float32)
    noise = np.zeros_like(values)
    fitted = distribution_of(codes, experts, noise, values, n_experts=4, decode=decode)
    drawn = draw_cells(fitted, np.array([1.0, 0, 3, 0]), 4000, decode, rng)
    share = np.bincount(np.rint(drawn[:, 0] / 100).astype(int), minlength=4) / 4000
    assert share == pytest.approx([0.25, 0, 0.75, 0], abs=0.03)  # four standard errors


def test_an_expert_with_one_cell_does_not_repeat_it() -> None:
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(301, 2)).astype(np.float32)
    values = (codes @ MIX).astype(np.float32)
    experts = np.repeat([0, 1], [300, 1])
    fitted = distribution_of(codes, experts, np.zeros_like(values), values, n_experts=2, decode=decode)
    drawn = draw_cells(fitted, np.array([0.0, 1]), 500, decode, rng)
    assert len(np.unique(drawn, axis=0)) == 500
    # Its spread is that of the cells of the other expert.
    assert drawn.std(0) == pytest.approx(values[:300].std(0), rel=0.25)


# --- a trained model ---


def test_generated_cells_resemble_their_cluster(model: TrainedModel) -> None:
    """Medians and spreads are those of held-out cells within a quarter of the width of a population.

    Nearly every cell is assigned to its own cluster.
    """
    assert model.n_clusters == 3
    generated = generate(model, events_of_clusters(model, "all", 1000, 0), seed=0)
    assert np.bincount(generated.cluster).tolist() == [0, 1000, 1000, 1000]
    assert generated.runs == {1: 1000, 2: 1000, 3: 1000}
    assert (assign(model, generated.values).cluster == generated.cluster).mean() > 0.98
    fresh = cells(1000, 5)
    of_fresh = assign(model, fresh).cluster
    for cluster in (1, 2, 3):
        real, own = fresh[of_fresh == cluster], generated.values[generated.cluster == cluster]
        assert np.median(own, 0) == pytest.approx(np.median(real, 0), abs=0.1)
        assert own.std(0) == pytest.approx(real.std(0), abs=0.1)


def test_the_seed_decides_and_a_cluster_does_not_depend_on_others(model: TrainedModel) -> None:
    both = generate(model, {1: 50, 2: 50}, seed=3)
    alone = generate(model, {2: 50}, seed=3)
    assert both.values[both.cluster == 2].tobytes() == alone.values.tobytes()
    assert generate(model, {2: 50}, seed=4).values.tobytes() != alone.values.tobytes()


def test_proportional_clusters_are_as_in_training(model: TrainedModel) -> None:
    counts = events_of_clusters(model, "proportional", 30_000, 0)
    assert sum(counts.values()) == 30_000
    share = np.array([counts[cluster] for cluster in (1, 2, 3)]) / 30_000
    assert share == pytest.approx(model.cluster_cells / model.cluster_cells.sum(), abs=0.012)  # four standard errors


def test_all_cells_reach_the_probability_and_draws_are_counted(model: TrainedModel) -> None:
    """Draws per cell are one over the share of plain draws that reach it (4000 draws, three standard errors)."""
    plain = generate(model, {1: 4000}, seed=1)
    probability = assign(model, plain.values).probabilities[:, 0]
    threshold = float(np.quantile(probability, 0.75))
    accepted = generate(model, {1: 1000}, min_posterior=threshold, seed=2)
    assert len(accepted.values) == 1000
    # Cells are assigned again in another chunk, which changes the last bits.
    assert assign(model, accepted.values).probabilities[:, 0].min() >= threshold - 1e-6
    assert accepted.runs[1] / 1000 == pytest.approx(4, rel=0.15)


def test_a_probability_out_of_reach_is_refused(model: TrainedModel) -> None:
    with pytest.raises(
        UsageError, match=rf"cluster 2: 5 of 5|cluster 2: 0 of 5.* in {5 * MOST_DRAWS_PER_CELL:,} draws"
    ):
        generate(model, {2: 5}, min_posterior=0.9999999, seed=0)


@pytest.mark.parametrize(
    ("which", "complaint"),
    [
        ("0", "no cluster 0"),
        ("4", "no cluster 4; this model has the clusters 1 … 3"),
        ("-1", "by its number"),
        ("x", "x"),
    ],
)
def test_an_unknown_cluster_is_refused(model: TrainedModel, which: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        generate(model, events_of_clusters(model, which, 5, 0), seed=0)


def test_a_model_with_too_many_markers_is_refused(model: TrainedModel) -> None:
    scaling = Scaling(np.zeros(201, np.float32), np.ones(201, np.float32))
    wide = replace(model, distribution=None, markers=tuple(f"m{index}" for index in range(201)), scaling=scaling)
    with pytest.raises(ModelError, match=r"201 markers.*200 at most"):
        generate(wide, {1: 5}, seed=0)


def test_a_model_without_the_kl_term_cannot_generate(model: TrainedModel) -> None:
    plain = learn(table(cells(60, 0)), replace(SMALL, steps=2), seed=0)
    assert plain.distribution is None
    with pytest.raises(ModelError, match="train --generative"):
        generate(plain, {1: 5}, seed=0)

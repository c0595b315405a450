"""The task of learning names, against scikit-learn and laws."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from cytovae.network.label_task import LabelTask, label_task


def task() -> LabelTask:
    """Six cells of two populations in three markers; experts 0 and 2 belong to population 0, expert 1 to 1."""
    x = torch.tensor(
        [[0.0, 0.1, 0.2], [0.2, 0.3, 0.2], [0.4, 0.5, 0.2], [0.9, 1.0, 0.2], [0.7, 0.8, 0.2], [0.8, 0.6, 0.2]]
    )
    return label_task(x, np.array([0, 0, 0, 1, 1, 1]), [0, 1, 0])


def test_the_loss_is_two_log_losses_of_scikit_learn() -> None:
    """Names of three cells; three cells and two strangers, per cell. Tolerance: rounding of float32."""
    p = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.8, 0.1], [0.6, 0.1, 0.3]])
    stranger = torch.tensor([-1.0, 0.5, -2.0, 1.0, -0.5])
    names = log_loss([0, 1, 0], [[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]])
    strange = log_loss([0, 0, 0, 1, 1], torch.sigmoid(stranger).numpy(), normalize=False) / 3
    found = task().loss(p, stranger, torch.tensor([0, 3, 1]))
    assert float(found) == pytest.approx(names + strange, rel=1e-5)


def test_probabilities_are_corrected_for_the_frequency_of_drawing() -> None:
    """Bayes by hand: if population 1 is drawn four times as often as it is, its 0.2 of a cell are 0.5 of a batch."""
    whole = task()
    corrected = label_task(whole.cells, whole.population.numpy(), [0, 1, 0], np.array([1.0, 0.25]))
    p = torch.tensor([[0.3, 0.2, 0.5]])
    found = corrected.loss(p, torch.tensor([-100.0]), torch.tensor([3]))
    assert float(found) == pytest.approx(np.log(2), rel=1e-5)


def test_full_knowledge_makes_cells_of_one_population_similar() -> None:
    assert task().same(torch.tensor([0, 2, 4])).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_strangers_have_the_markers_of_two_cells() -> None:
    of = task()
    strangers = of.strangers(200, torch.Generator().manual_seed(0))
    pairs = torch.stack([(strangers[:, None] == of.cells[None]).any(1).all(1)])  # each value is that of some cell
    assert pairs.all()
    mixed = ~(strangers[:, None] == of.cells[None]).all(2).any(1)
    assert 0.3 < mixed.float().mean() < 0.9  # a cell crossed with itself, or with one mask of all, is no stranger


def test_an_imagined_file_shifts_its_cells_alike() -> None:
    """Two equal cells of one file differ by noise only; without augmentation of files all would."""
    x = torch.zeros(3200, 3)
    seen = task().as_imagined(x, torch.Generator().manual_seed(0))
    of_file = seen.reshape(200, 16, 3).mean(0)  # (files, markers); cells alternate between files
    assert of_file[:8].abs().max() < 0.02  # as measured: 4 standard errors of noise 0.05 over 200 cells
    assert of_file[8:].abs().max() > 0.1

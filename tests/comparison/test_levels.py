"""Levels of state markers: which channels, and medians of samples and populations."""

from pathlib import Path

import numpy as np
import pytest

from cytovae.comparison.assigned_cells import AssignedCells
from cytovae.comparison.design import Design, Factor
from cytovae.comparison.levels import Levels, compare_levels, read_levels
from cytovae.comparison.samples import Samples
from cytovae.errors import InputError
from cytovae.events.panel import Marker, Panel
from cytovae.events.transform import Transform
from cytovae.fcs.channels import Channel
from cytovae.fcs.write import write_fcs
from cytovae.inference.trained_model import SavedModel

PANEL = Panel((Marker("CD3", "Er170Di", 5.0, "170Er_CD3"), Marker("CD4", "Nd145Di", 5.0, "145Nd_CD4")))
LABELS = ("170Er_CD3", "145Nd_CD4", "150Nd_pStat5", "Event_length", "154Sm_pStat3")
NAMES = ("Er170Di", "Nd145Di", "Nd150Di", "Event_length", "Sm154Di")


class Model:
    """The fields of a saved model that levels depend on."""

    def __init__(self) -> None:
        from cytovae.events.compensation import NO_COMPENSATION

        self.panel, self.transform = PANEL, Transform("arcsinh", PANEL.cofactors)
        self.compensation = NO_COMPENSATION


def saved() -> SavedModel:
    return Model()  # type: ignore[return-value]


def write(path: Path, values: np.ndarray, keep: tuple[int, ...] = (0, 1, 2, 3, 4)) -> None:
    channels = tuple(Channel(i, NAMES[c], LABELS[c], 1000.0) for i, c in enumerate(keep))
    write_fcs(path, values[:, list(keep)].astype(np.float32), channels)


def values(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2, 10, (n, 5))


def cells_of(*codes: list[int], has_events: bool = True) -> AssignedCells:
    files = tuple(f"{name}.fcs" for name, _ in zip("abcdef", codes, strict=False))
    arrays = tuple(np.array(own, dtype=np.int32) for own in codes)
    counts = np.array([[int((own == population).sum()) for population in (0, 1)] for own in arrays])
    return AssignedCells(
        files, (Path("t"),) * len(files), ("T", "B"), counts, codes=arrays, has_events=(has_events,) * len(files)
    )


def samples(*of_file: int) -> Samples:
    condition = Factor("condition", tuple("ab"[: max(of_file) + 1]))
    return Samples(tuple("ab"[: max(of_file) + 1]), np.array(of_file), Design(condition, "a"))


def test_medians_are_those_of_the_joined_files_of_a_sample(tmp_path: Path) -> None:
    one, two = values(5), values(4, seed=1)
    write(tmp_path / "a.fcs", one)
    write(tmp_path / "b.fcs", two)
    levels = read_levels(tmp_path, saved(), cells_of([0, 0, 1, -1, 1], [1, 1, 1, 0]), samples(0, 0))
    assert levels.markers == ("pStat5", "pStat3")
    both = np.arcsinh(np.concatenate([one, two])[:, [2, 4]] / 5)
    expected = [np.median(both[[0, 1, 8]], axis=0), np.median(both[[2, 4, 5, 6, 7]], axis=0)]
    assert levels.medians[0] == pytest.approx(np.array(expected), rel=1e-5)


def test_a_population_without_cells_has_no_median(tmp_path: Path) -> None:
    write(tmp_path / "a.fcs", values(3))
    levels = read_levels(tmp_path, saved(), cells_of([1, 1, 1]), samples(0))
    assert np.isnan(levels.medians[0, 0]).all()
    assert np.isfinite(levels.medians[0, 1]).all()


def test_markers_are_found_by_name_and_must_be_in_all_files(tmp_path: Path) -> None:
    content = values(4)
    write(tmp_path / "a.fcs", content)
    write(tmp_path / "b.fcs", content, keep=(4, 1, 0))
    levels = read_levels(tmp_path, saved(), cells_of([0] * 4, [0] * 4), samples(0, 1))
    assert (levels.markers, levels.left_out) == (("pStat3",), ("pStat5",))
    assert levels.medians[0, 0] == pytest.approx(levels.medians[1, 0])


def test_files_without_state_markers_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.fcs", values(3), keep=(0, 1, 3))
    with pytest.raises(InputError, match="no state marker"):
        read_levels(tmp_path, saved(), cells_of([0] * 3), samples(0))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file a\.fcs"):
        read_levels(tmp_path, saved(), cells_of([0]), samples(0))


@pytest.mark.parametrize(("n_events", "has_events"), [(3, True), (5, False)])
def test_a_table_with_other_events_than_the_file_is_refused(tmp_path: Path, n_events: int, has_events: bool) -> None:
    write(tmp_path / "a.fcs", values(n_events))
    with pytest.raises(InputError, match=f"found 4 events of a.fcs, expected {n_events}"):
        read_levels(tmp_path, saved(), cells_of([0] * 4, has_events=has_events), samples(0))


# --- tests ---

DESIGN = Design(Factor("condition", tuple("aaaabbbb")), "a")


def simulated(n: int = 8) -> tuple[Levels, np.ndarray]:
    medians = np.random.default_rng(2).normal(1, 0.1, (n, 2, 2))
    return Levels(("pStat5", "pStat3"), (), medians), np.full((n, 2), 50)


def test_a_change_of_one_marker_in_one_population_is_found() -> None:
    levels, cells = simulated()
    levels.medians[4:, 1, 0] += 2
    differences = compare_levels(levels, cells, DESIGN)
    assert [(d.population, d.marker) for d in differences] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [(d.population, d.marker) for d in differences if d.fdr <= 0.05] == [(1, 0)]
    assert differences[2].effect.effect == pytest.approx(2, abs=0.2)


def test_samples_with_few_cells_are_left_out() -> None:
    levels, cells = simulated()
    cells[0, 0] = 9
    expected = compare_levels(levels, cells, DESIGN)
    levels.medians[0, 0] = np.nan
    assert compare_levels(levels, cells, DESIGN)[0].effect == expected[0].effect
    assert expected[0].effect.df == 5
    assert expected[2].effect.df == 6


def test_a_group_with_too_few_such_samples_is_not_tested() -> None:
    levels, cells = simulated()
    cells[4:6, 0] = 9
    first, *_, last = compare_levels(levels, cells, DESIGN)
    assert np.isnan(first.effect.p)
    assert "fewer than 3 samples of at least 10 cells" in first.effect.note
    assert np.isfinite(last.effect.p)
    assert np.isfinite(compare_levels(levels, cells, DESIGN, describe=True)[0].effect.effect)


def test_a_level_without_cells_does_not_stop_the_others() -> None:
    levels, cells = simulated(9)
    cells[6:, 0] = 0
    design = Design(Factor("condition", tuple("aaabbbccc")), "a")
    first, second, *_ = compare_levels(levels, cells, design)
    assert (first.level, second.level) == ("b", "c")
    assert np.isfinite(first.effect.p)
    assert np.isnan(second.effect.p)

"""Checks of quality control on events whose faults are known."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cytovae.events.array_file import ArrayFile, array_file
from cytovae.events.event_file import open_events
from cytovae.fcs.channels import Channel
from cytovae.fcs.write import write_fcs
from cytovae.quality.channel_roles import channel_roles
from cytovae.quality.check import REASONS
from cytovae.quality.dead_cells import dead_threshold
from cytovae.quality.debris import size_threshold
from cytovae.quality.density import density_of, separated
from cytovae.quality.doublets import area_too_large
from cytovae.quality.drift import bad_bins, half_bins, largest_leaf, order_of_events, without_short_runs
from cytovae.quality.file_quality import FileQuality, check_file
from cytovae.quality.margins import at_lower_end, at_upper_end

TOP = 262_144.0
N = 20_000
FLOW = ("FSC-A", "FSC-H", "SSC-A", "FITC-A", "PE-A", "Zombie NIR-A", "Time")
LABELS = ("", "", "", "CD3", "CD19", "Viability", "")


def flow_events(n: int = N, seed: int = 0) -> NDArray[np.float64]:
    """Clean events of two populations: size 100,000 ± 8 %, height 0.8 of the area ± 1 %, and a dim viability dye."""
    rng = np.random.default_rng(seed)
    area = 100_000 * rng.normal(1, 0.08, n)
    positive = rng.random(n) < 0.5
    markers = 150 * np.sinh(np.where(np.column_stack([positive, ~positive]), 4.5, 1.0) + rng.normal(0, 0.4, (n, 2)))
    return np.column_stack(
        [
            *(area, area * 0.8 * rng.normal(1, 0.01, n), 50_000 * rng.lognormal(0, 0.2, n)),
            *(markers, 300 * rng.lognormal(0, 0.4, n), np.arange(n)),
        ]
    )


def quality_of(folder: Path, values: NDArray[np.float64], names: tuple[str, ...] = FLOW) -> FileQuality:
    labels = LABELS if names == FLOW else ("",) * len(names)
    channels = tuple(Channel(i, name, label, TOP) for i, (name, label) in enumerate(zip(names, labels, strict=True)))
    write_fcs(folder / "events.fcs", values.astype(np.float32), channels)
    return check_file(open_events(folder / "events.fcs"), "events.fcs")


def failing(quality: FileQuality, reason: str) -> NDArray[np.bool_]:
    failed = quality.checks[REASONS.index(reason)].failed
    assert failed is not None
    return failed


# --- densities ---


def test_the_width_of_a_normal_peak_is_its_standard_deviation() -> None:
    density = density_of(np.random.default_rng(0).normal(5, 2, 200_000))
    assert density is not None
    peak = int(np.argmax(density.height))
    assert density.grid[peak] == pytest.approx(5, abs=0.3)
    assert density.spread_below(peak) == pytest.approx(2, rel=0.1)
    assert density.spread_above(peak) == pytest.approx(2, rel=0.1)


def test_the_valley_between_two_equal_peaks_is_half_way() -> None:
    values = np.random.default_rng(0).normal(np.repeat([0.0, 6.0], 20_000), 1)
    density = density_of(values)
    assert density is not None
    ((left, valley, right),) = separated(density, 0.1, 0.5)
    assert density.grid[[left, valley, right]] == pytest.approx([0, 3, 6], abs=0.6)


def test_values_that_do_not_vary_have_no_density() -> None:
    assert density_of(np.full(100, 3.0)) is None
    assert density_of(np.array([1.0])) is None


# --- margins: the upper end by hand ---


@pytest.mark.parametrize(
    ("values", "top", "at_end"),
    [
        ([10, 1023, 1022, 5], 1024, [False, True, False, False]),  # integers end one below the range
        ([10, 200, 300, 5], 1024, [False] * 4),  # nothing at the end
        ([10, 2000, 3000, 5], 1024, [False] * 4),  # the range is wrong
        ([7, *[9] * 6, 8], 1024, [False, *[True] * 6, False]),  # a pile below the range
        ([7, *[9] * 6, 8], float("nan"), [False, *[True] * 6, False]),
        ([7, 9, 9, 8], float("nan"), [False] * 4),  # two are no pile
    ],
)
def test_the_upper_end(values: list[float], top: float, at_end: list[bool]) -> None:
    assert at_upper_end(np.array(values, float), top).tolist() == at_end


def test_the_lower_end_is_a_pile() -> None:
    assert at_lower_end(np.array([0, 0, 0, 0, 0, 3.0, 4])).tolist() == [True] * 5 + [False] * 2
    assert not at_lower_end(np.array([0, 1, 2, 3.0])).any()


# --- debris, dead cells, doublets ---


def thresholds_of(parts: list[tuple[float, float, int]]) -> float | None:
    rng = np.random.default_rng(1)
    density = density_of(np.concatenate([rng.normal(mean, sd, n) for mean, sd, n in parts]))
    assert density is not None
    return size_threshold(density)


def test_debris_is_much_smaller_than_cells_and_apart_from_them() -> None:
    found = thresholds_of([(10_000, 3_000, 3_000), (90_000, 8_000, 9_000)])
    assert found is not None
    assert 18_000 < found < 66_000  # three standard deviations from both


def test_lymphocytes_are_no_debris_beside_granulocytes() -> None:
    assert thresholds_of([(80_000, 8_000, 3_000), (160_000, 15_000, 9_000)]) is None


def test_cells_alone_have_no_debris() -> None:
    assert thresholds_of([(90_000, 20_000, 9_000)]) is None


@pytest.mark.parametrize("n_dead", [300, 3_000, 20_000])
def test_dead_cells_are_above_the_valley(n_dead: int) -> None:
    rng = np.random.default_rng(2)
    density = density_of(np.concatenate([rng.normal(1, 0.4, 10_000), rng.normal(5, 0.4, n_dead)]))
    assert density is not None
    assert 2.2 < dead_threshold(density) < 3.8


def test_two_kinds_of_living_cells_are_not_dead() -> None:
    """They differ by a factor of 2.7, less than five."""
    rng = np.random.default_rng(2)
    density = density_of(np.concatenate([rng.normal(1, 0.25, 10_000), rng.normal(2, 0.25, 10_000)]))
    assert density is not None
    assert dead_threshold(density) > 2.5


def test_the_ratio_of_area_to_height_by_hand() -> None:
    ratio = np.array([1.0, 1.0, 1.1, 1.1, 1.2, 1.2, 1.3, 2.0])
    # Median 1.15, median deviation 0.1: the limit is 1.15 + 4 · 1.4826 · 0.1 = 1.743.
    height = np.full(8, 100.0)
    nothing = np.zeros(8, np.bool_)
    too_large = area_too_large(ratio * height, height, nothing)
    assert too_large is not None
    assert too_large.tolist() == [False] * 7 + [True]
    assert area_too_large(height, height, nothing) is None


# --- drift ---


def test_bins_overlap_by_half() -> None:
    halves = half_bins(np.arange(10_000))
    assert np.bincount(halves).tolist() == [250] * 40  # bins of 500
    large = half_bins(np.arange(1_000_000))
    assert len(np.bincount(large)) == 444  # bins of 4,500, as PeacoQC: 2 · n / 500, to the next 500
    assert np.bincount(large).max() == 2_253


def test_the_order_of_events() -> None:
    steady, shuffled = np.arange(1_000.0), np.random.default_rng(0).permutation(1_000).astype(float)
    restarted = np.concatenate([np.arange(500.0), np.arange(500.0)])
    for times in ([steady], [restarted], [np.full(1_000, 7.0), steady], [shuffled, steady]):
        order = order_of_events(np.array(times))
        assert order is not None
        assert order.tolist() == list(range(1_000))
    order = order_of_events(shuffled[None])
    assert order is not None
    assert order.tolist() == shuffled.astype(int).tolist()
    assert order_of_events(np.full((1, 1_000), 7.0)) is None


def test_short_good_runs_between_bad_bins_are_bad() -> None:
    good, bad = [False], [True]
    assert without_short_runs(np.array(bad + 4 * good + bad)).all()
    assert without_short_runs(np.array(bad + 5 * good + bad)).sum() == 2
    assert not without_short_runs(np.array(10 * good)).any()


def test_the_isolation_tree_keeps_the_larger_level() -> None:
    course = np.random.default_rng(0).normal(np.repeat([0.0, 5.0], [120, 60]), 0.1)[:, None]
    assert largest_leaf(course, np.array([0.2])).tolist() == list(range(120))


def test_small_moves_are_not_bad() -> None:
    """A move of 0.2 is more than six deviations, but less than the least move."""
    course = np.random.default_rng(0).normal(0, 0.005, (200, 1))
    course[50:80] += 0.2
    assert not bad_bins(course, np.array([0.25])).any()
    assert bad_bins(course, np.array([0.1]))[55:75].all()


# --- whole files ---


def test_clean_events_pass(tmp_path: Path) -> None:
    quality = quality_of(tmp_path, flow_events())
    assert quality.n_failed < 0.01 * N
    assert all(check.failed is not None for check in quality.checks)
    assert quality.warnings == ()


def test_every_fault_is_found_where_it_is(tmp_path: Path) -> None:
    values, rng = flow_events(), np.random.default_rng(3)
    faults = dict(zip(REASONS[:4], np.split(rng.permutation(N)[:4_000], 4), strict=True))
    values[faults["margin"], 2] = TOP - 1
    values[faults["debris"], :2] *= 0.1
    values[faults["doublet"], 0] *= 2
    values[faults["dead"], 5] *= 60
    values[8_000:10_000, 3:5] *= 0.3
    quality = quality_of(tmp_path, values)
    for reason, rows in faults.items():
        assert failing(quality, reason)[rows].mean() > 0.98, reason
    drift = failing(quality, "drift")
    assert drift[8_250:9_750].all()
    assert drift.sum() < 3_500  # the stretch, and the bins at its ends
    faulty = np.unique(np.concatenate([*faults.values(), np.flatnonzero(drift)]))
    assert np.delete(quality.reason > 0, faulty).mean() < 0.01
    assert [REASONS[number - 1] for number in quality.reason[faults["margin"]]] == ["margin"] * 1_000


def test_drift_follows_time_and_not_the_order_in_the_file(tmp_path: Path) -> None:
    values = flow_events()
    values[8_000:10_000, 3:5] *= 0.3
    shuffled = np.random.default_rng(0).permutation(N)
    drift = failing(quality_of(tmp_path, values[shuffled]), "drift")
    assert drift[np.isin(shuffled, np.arange(8_250, 9_750))].all()
    assert drift.sum() < 3_500


def test_a_slow_drift_is_told_and_fails_nothing(tmp_path: Path) -> None:
    values = flow_events()
    values[:, 4] *= np.geomspace(1, 12, N)
    quality = quality_of(tmp_path, values)
    assert not failing(quality, "drift").any()
    (warning,) = quality.warnings
    assert warning == "CD19 moved from the beginning to the end of the file"


def test_a_check_without_its_channel_is_not_done(tmp_path: Path) -> None:
    quality = quality_of(tmp_path, flow_events()[:, 3:5], ("FITC-A", "PE-A"))
    why = {check.reason: check.why_not for check in quality.checks if check.failed is None}
    assert why == {
        "debris": "no channel of forward scatter",
        "doublet": "no detector of scatter with area and height",
        "dead": "no viability channel",
        "drift": "no channel of time",
    }
    assert quality.n_failed == 0


def test_a_file_that_mostly_fails_is_warned_about(tmp_path: Path) -> None:
    values = flow_events()
    values[np.arange(N) % 5 < 3, 2] = TOP - 1
    assert "60% of the events fail, most by margin" in quality_of(tmp_path, values).warnings[0]


def test_a_file_of_few_events_is_warned_about(tmp_path: Path) -> None:
    quality = quality_of(tmp_path, flow_events(500))
    assert quality.warnings == ("few events: 500",)
    assert quality.checks[-1].why_not == "fewer than 10,000 events"


def test_a_file_without_events(tmp_path: Path) -> None:
    quality = quality_of(tmp_path, flow_events(500)[:0])
    assert (quality.n_events, quality.n_failed) == (0, 0)
    assert all(check.failed is None for check in quality.checks)


def test_values_that_are_no_numbers_are_no_fault_of_a_check(tmp_path: Path) -> None:
    values = flow_events()
    values[:50, [0, 3, 5]] = np.nan
    assert quality_of(tmp_path, values).n_failed < 0.01 * N


def mass_events(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """One in ten events is debris, and one in twenty a doublet."""
    dna = rng.lognormal(np.log(300), 0.1, n)
    dna[: n // 10] *= 0.02
    dna[n // 10 : n // 10 + n // 20] += rng.lognormal(np.log(300), 0.1, n // 20)
    markers = rng.poisson(rng.choice([2.0, 60.0], (n, 3)))
    return np.column_stack([np.arange(n), rng.poisson(dna), rng.poisson(dna * 1.5), rng.poisson(3, n), markers])


def test_dna_tells_debris_and_doublets_of_a_mass_cytometer(tmp_path: Path) -> None:
    names = ("Time", "Ir191Di", "Ir193Di", "Pt195Di", "Nd145Di", "Er170Di", "Pr141Di")
    quality = quality_of(tmp_path, mass_events(N, np.random.default_rng(0)), names)
    debris, doublet = failing(quality, "debris"), failing(quality, "doublet")
    assert debris[:2_000].all()
    assert debris[2_000:].mean() < 0.001
    assert doublet[2_000:3_000].mean() > 0.98
    assert np.delete(doublet, np.arange(2_000, 3_000)).mean() < 0.01
    assert failing(quality, "dead").mean() < 0.01
    assert quality.checks[0].failed is None


# --- channels ---


@pytest.mark.parametrize(
    ("names", "area", "height", "size"),
    [
        (("SSC-A", "SSC-H", "FSC-A", "FSC-H", "FSC-W"), "FSC-A", "FSC-H", "FSC-A"),
        (("FSCArea", "FSCHeight", "FSCWidth"), "FSCArea", "FSCHeight", "FSCArea"),
        (("FSC-Height", "FSC-Area", "FSC-Log_Height"), "FSC-Area", "FSC-Height", "FSC-Area"),
        (("FSC LogH", "FSC LogA", "FSC LinH", "FSC LinA"), "FSC LinA", "FSC LinH", "FSC LinA"),
        (("FSC-H", "SSC-H", "SSC-A"), "SSC-A", "SSC-H", "FSC-H"),
        (("FS INT LIN", "SS INT LIN"), None, None, "FS INT LIN"),
        (("FITC-A", "FITC-H"), None, None, None),
    ],
)
def test_scatter_by_name(names: tuple[str, ...], area: str | None, height: str | None, size: str | None) -> None:
    roles = channel_roles(in_memory(names))
    found = (roles.area, roles.height, roles.size)
    assert tuple(channel.name if channel else None for channel in found) == (area, height, size)
    assert not any("W" in channel.name for channel in roles.scatter)


def test_a_dye_of_living_cells_is_not_used_for_dead_ones() -> None:
    dead = ("Zombie NIR-A", "LIVE DEAD Aqua-A", "Calcein AM-A", "FITC-A")
    assert [channel.name for channel in channel_roles(in_memory(dead)).viability] == [
        "Zombie NIR-A",
        "LIVE DEAD Aqua-A",
    ]


def in_memory(names: tuple[str, ...]) -> ArrayFile:
    return array_file(np.random.default_rng(0).normal(1_000, 100, (200, len(names))), names)

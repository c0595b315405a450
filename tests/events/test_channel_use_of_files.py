"""Markers of files as instruments and programs write them: one folder for each kind of file."""

from pathlib import Path

import pytest

from cytovae.errors import PanelError
from cytovae.events.channel_use import channel_uses
from cytovae.events.event_file import open_events
from cytovae.events.panel import columns_of, find_channel, resolve_panel

SHARED = Path(__file__).parents[3] / "shared" / "data"
CASES = SHARED / "field_cases"
FIVE = ["CD3", "CD4", "CD8", "CD19", "CD45"]
FIVE_DETECTORS = ["FITC-A", "PE-A", "APC-A", "BV421-A", "BV510-A"]

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not CASES.exists(), reason="the shared data folder is not beside the repository"),
]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("analysis_columns/analysed.fcs", FIVE),
        ("analysis_columns/spectre.fcs", FIVE),
        ("own_output_as_input/assigned.fcs", FIVE),
        ("comp_and_raw/both.fcs", FIVE),
        ("comp_and_raw/fjcomp_both_nolabel.fcs", [f"FJComp-{name}" for name in FIVE_DETECTORS]),
        ("double_compensation/compensated.fcs", FIVE),
        ("facsdiscover_s8/s8.fcs", ["CD4-A", "CD25-A", "CD8-A", "CD3-A", "CD45-A"]),
        ("fcs32_types/typed.fcs", FIVE),
        ("vendor_scatter/scatter.fcs", FIVE_DETECTORS),
        ("viability_and_autofluorescence/viability.fcs", FIVE),
        ("viability_and_autofluorescence/fjcomp.fcs", [f"FJComp-{name}" for name in FIVE_DETECTORS]),
        ("viability_and_autofluorescence/cytof.fcs", FIVE),
        ("flowjo_csv/same.fcs", FIVE),
        ("flowjo_csv/flowjo.csv", FIVE),
        ("flowjo_csv/flowjo_both.csv", FIVE),
        ("flowjo_csv/cellengine.csv", FIVE),
        ("flowjo_csv/pandas.csv", FIVE),
        ("float32_ids/int32.fcs", FIVE),
        ("spectroflo_identity/aurora.fcs", FIVE),
    ],
)
def test_only_the_markers_are_used_and_every_other_channel_has_a_reason(name: str, expected: list[str]) -> None:
    file = open_events(CASES / name)
    uses = channel_uses(file.channels)
    assert [use.marker for use in uses if use.used] == expected
    assert all(use.used != bool(use.reason) for use in uses)
    assert resolve_panel(file).names == tuple(expected)


@pytest.mark.parametrize("name", ["flowjo.csv", "flowjo_both.csv", "cellengine.csv", "pandas.csv"])
def test_a_panel_of_an_fcs_file_fits_the_tables_of_other_programs(name: str) -> None:
    panel = resolve_panel(open_events(CASES / "flowjo_csv" / "same.fcs"))
    file = open_events(CASES / "flowjo_csv" / name)
    columns = columns_of(panel, file).tolist()
    assert [channel_uses(file.channels)[column].marker for column in columns] == FIVE
    assert all(channel_uses(file.channels)[column].used for column in columns)


def test_a_named_marker_is_the_compensated_one() -> None:
    file = open_events(CASES / "comp_and_raw" / "both.fcs")
    assert find_channel(file, "CD3").name == "Comp-FITC-A"
    assert find_channel(file, "FITC-A").name == "FITC-A"
    s8 = open_events(CASES / "facsdiscover_s8" / "s8.fcs")
    assert find_channel(s8, "CD4").name == "V500-A"


def test_a_raw_spectral_file_is_refused_unless_detectors_are_named() -> None:
    file = open_events(SHARED / "fcs_corpus" / "cytoflow+cytoflow__Cytek_NL-2000.fcs")
    with pytest.raises(PanelError, match="not unmixed"):
        resolve_panel(file)
    assert resolve_panel(file, markers=["B1-A", "R1-A"]).names == ("B1-A", "R1-A")


def test_channels_of_earlier_analyses_are_markers_if_named() -> None:
    file = open_events(CASES / "analysis_columns" / "analysed.fcs")
    assert resolve_panel(file, markers=["CD3", "UMAP_1"]).names == ("CD3", "UMAP_1")


@pytest.mark.parametrize(
    ("name", "marker", "alias"),
    [
        ("huimm_pbmc.fcs", "CD197_CCR7", "CCR7"),
        ("huimm_pbmc.fcs", "CD56_NCAM", "CD56"),
        ("huimm_pbmc.fcs", "CD123_IL-3R", "CD123"),
        ("huimm_pbmc.fcs", "CD294", "CRTH2"),
        ("nilsson_rare.fcs", "CD90bio", "Thy1"),
        ("nilsson_rare.fcs", "CD49fpur", "CD49f"),
        ("levine32_balanced1500.fcs", "Flt3", "CD135"),
        ("hipc_stanford/1228_1A.fcs", "CCR7", "CD197"),
    ],
)
def test_other_names_of_an_antigen_find_its_channel(name: str, marker: str, alias: str) -> None:
    assert resolve_panel(open_events(SHARED / name), markers=[alias]).names == (marker,)

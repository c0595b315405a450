"""Panels: the choice of markers, and the same markers in other files."""

from pathlib import Path

import numpy as np
import pytest

from cytovae.errors import ModelError, PanelError, UsageError
from cytovae.events.panel import Marker, Panel, columns_in_study, columns_of, resolve_panel
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import FcsFile, open_fcs
from cytovae.fcs.write import write_fcs

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_shared_data = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not available")


def channels(*names: str | tuple[str, str]) -> tuple[Channel, ...]:
    """Channels from $PnN or from ($PnN, $PnS)."""
    pairs = [(name, "") if isinstance(name, str) else name for name in names]
    return tuple(Channel(index, name, label, 1024.0) for index, (name, label) in enumerate(pairs))


def fcs(folder: Path, *names: str | tuple[str, str], name: str = "a.fcs") -> FcsFile:
    path = folder / name
    write_fcs(path, np.zeros((2, len(names)), dtype=np.float32), channels(*names))
    return open_fcs(path)


# --- choice of markers ---


def test_an_unknown_name_is_rejected_with_the_nearest(tmp_path: Path) -> None:
    file = fcs(tmp_path, ("Pr141Di", "141Pr_CD45"), ("Nd142Di", "142Nd_CD19"))
    with pytest.raises(PanelError, match=r"CD54.*Nearest: CD45") as caught:
        resolve_panel(file, markers=["CD19", "CD54"])
    assert caught.value.exit_code == 3
    assert caught.value.file == str(file.path)


def test_an_ambiguous_name_is_rejected_and_a_channel_name_resolves_it(tmp_path: Path) -> None:
    file = fcs(tmp_path, ("Cd112Di", "CD14"), ("Cd114Di", "CD14"), ("Yb170Di", "CD3"))
    with pytest.raises(PanelError, match=r"Cd112Di \(CD14\), Cd114Di \(CD14\)"):
        resolve_panel(file, markers=["CD14"])
    panel = resolve_panel(file, markers=["CD3", "Cd114Di"])
    assert panel.names == ("CD3", "CD14")
    assert columns_of(panel, file).tolist() == [2, 1]


def test_channels_of_the_same_marker_are_named_by_channel(tmp_path: Path) -> None:
    file = fcs(tmp_path, ("Cd112Di", "CD14"), ("Yb170Di", "CD3"), ("Cd114Di", "CD14"))
    panel = resolve_panel(file)
    assert panel.names == ("CD14 [Cd112Di]", "CD3", "CD14 [Cd114Di]")
    swapped = fcs(tmp_path, ("Cd114Di", "CD14"), ("Cd112Di", "CD14"), ("Yb170Di", "CD3"), name="b.fcs")
    assert columns_of(panel, swapped).tolist() == [1, 2, 0]
    assert resolve_panel(file, exclude=["CD14"]).names == ("CD3",)


def test_naming_a_channel_twice_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(PanelError, match="twice, as 'CD3' and 'X'"):
        resolve_panel(fcs(tmp_path, ("X", "CD3")), markers=["CD3", "X"])


def test_excluding_an_unknown_name_is_rejected(tmp_path: Path) -> None:
    file = fcs(tmp_path, "CD3", "CD4", "Time")
    assert resolve_panel(file, exclude=["cd4"]).names == ("CD3",)
    with pytest.raises(PanelError, match="CD44"):
        resolve_panel(file, exclude=["CD44"])
    with pytest.raises(PanelError, match="at least one"):
        resolve_panel(file, exclude=["CD3", "CD4"])


def test_technical_channels_are_markers_if_named(tmp_path: Path) -> None:
    file = fcs(tmp_path, "FSC-A", "CD3", "Time")
    assert resolve_panel(file, markers=["Time", "FSC-A"]).names == ("Time", "FSC-A")


def test_a_file_without_markers_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(PanelError, match="FSC-A, Time"):
        resolve_panel(fcs(tmp_path, "FSC-A", "Time"))


def test_cofactors_are_positive(tmp_path: Path) -> None:
    for cofactor in (0.0, -5.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="cofactor"):
            Marker("CD3", "X", cofactor)
    panel = resolve_panel(fcs(tmp_path, "CD3", "CD4"), cofactor=150.0)
    assert panel.cofactors.dtype == np.float32
    assert panel.cofactors.tolist() == [150.0, 150.0]


def test_a_panel_has_markers_with_unique_names() -> None:
    with pytest.raises(UsageError, match="at least one"):
        Panel(())
    with pytest.raises(UsageError, match="CD3"):
        Panel((Marker("CD3", "X", 5.0), Marker("CD3", "Y", 5.0)))


def test_an_antigen_that_two_channels_name_is_ambiguous(tmp_path: Path) -> None:
    file = fcs(tmp_path, ("X1", "CD197"), ("X2", "CD197_CCR7"), ("X3", "CD4_CD20"))
    with pytest.raises(PanelError, match=r"2 channels with the name 'CCR7': X1 \(CD197\), X2 \(CD197_CCR7\)"):
        resolve_panel(file, markers=["CCR7"])
    for name in ("CD4", "CD20"):
        with pytest.raises(PanelError, match=f"no channel with the name '{name}'"):
            resolve_panel(file, markers=[name])


def test_state_markers_are_used_if_asked_for(tmp_path: Path) -> None:
    file = fcs(tmp_path, ("X1", "CD3"), ("X2", "pSTAT5"), ("X3", "Ki-67"))
    assert resolve_panel(file).names == ("CD3",)
    assert resolve_panel(file, state_markers=True).names == ("CD3", "pSTAT5", "Ki-67")
    assert resolve_panel(file, markers=["pSTAT5"]).names == ("pSTAT5",)
    with pytest.raises(UsageError, match="--state-markers"):
        resolve_panel(file, markers=["CD3"], state_markers=True)
    with pytest.raises(PanelError, match=r"only state markers: pSTAT5.*--state-markers"):
        resolve_panel(fcs(tmp_path, ("X2", "pSTAT5"), name="b.fcs"))


def test_raw_spectral_detectors_are_refused_unless_named(tmp_path: Path) -> None:
    file = fcs(tmp_path, "FSC-A", *(f"V{number}-A" for number in range(1, 17)))
    with pytest.raises(PanelError, match="not unmixed"):
        resolve_panel(file)
    assert resolve_panel(file, markers=["V1-A"]).names == ("V1-A",)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_panel_table_chooses_and_renames_markers_and_sets_cofactors(tmp_path: Path, separator: str) -> None:
    file = fcs(tmp_path, ("Pr141Di", "141Pr_CD45"), ("Nd142Di", "142Nd_CD19"), ("Er170Di", "170Er_CD3"), "Time")
    rows = ["Channel,Marker,use,cofactor", "Er170Di,T3,yes,10", "CD19,,1,", "Pr141Di,CD45,0,7", ""]
    table = tmp_path / "panel.csv"
    table.write_text("\ufeff" + "\r\n".join(rows).replace(",", separator), encoding="utf-8")
    panel = resolve_panel(file, panel_csv=table, cofactor=6.0)
    assert panel.names == ("T3", "CD19")
    assert panel.cofactors.tolist() == [10.0, 6.0]
    # No file has the new name; the channel and its antibody locate the marker.
    assert columns_of(panel, file).tolist() == [2, 1]
    other = fcs(tmp_path, ("Nd150Di", "150Nd_CD3"), ("Er170Di", "170Er_CD8"), ("Nd142Di", "142Nd_CD19"), name="b.fcs")
    assert columns_of(panel, other).tolist() == [0, 2]
    with pytest.raises(UsageError, match="not both"):
        resolve_panel(file, panel_csv=table, markers=["CD19"])


def test_a_panel_table_locates_a_marker_on_another_channel(tmp_path: Path) -> None:
    table = tmp_path / "panel.csv"
    table.write_text("channel,marker\nPr141Di,CD45\n")
    panel = resolve_panel(fcs(tmp_path, ("Nd142Di", "142Nd_CD45")), panel_csv=table)
    assert [(marker.name, marker.channel) for marker in panel.markers] == [("CD45", "Nd142Di")]


# --- the same markers in another file ---


def test_columns_follow_the_marker_not_the_order_or_isotope(tmp_path: Path) -> None:
    first = fcs(tmp_path, ("Pr141Di", "141Pr_CD45"), ("Nd142Di", "142Nd_CD19"), "Time")
    second = fcs(tmp_path, "Time", ("Pr141Di", "141Pr_CD19"), ("Nd142Di", "142Nd_cd45"), name="b.fcs")
    panel = resolve_panel(first)
    assert columns_of(panel, first).tolist() == [0, 1]
    assert columns_of(panel, second).tolist() == [2, 1]
    assert columns_in_study(panel, second).tolist() == [2, 1]


def test_columns_fall_back_to_the_channel_unless_it_has_another_antibody(tmp_path: Path) -> None:
    panel = resolve_panel(fcs(tmp_path, ("Pr141Di", "141Pr_CD45"), ("Nd142Di", "142Nd_CD19")))
    unlabelled = fcs(tmp_path, "Nd142Di", "Pr141Di", name="b.fcs")
    assert columns_of(panel, unlabelled).tolist() == [1, 0]
    relabelled = fcs(tmp_path, ("Pr141Di", "141Pr_CD3"), ("Nd142Di", "142Nd_CD19"), name="c.fcs")
    with pytest.raises(ModelError, match="CD45 is missing"):
        columns_of(panel, relabelled)


def test_all_missing_markers_are_named_with_the_nearest(tmp_path: Path) -> None:
    panel = resolve_panel(fcs(tmp_path, "CD45", "CD19", "CD3", "HLA-DR"))
    other = fcs(tmp_path, "CD45RA", "CD19", "Ly6G", name="b.fcs")
    with pytest.raises(ModelError) as caught:
        columns_of(panel, other)
    message = str(caught.value)
    assert caught.value.exit_code == 5
    assert str(other.path) in message
    assert "CD45 is missing (nearest: CD45RA" in message
    assert "CD3 is missing" in message
    assert "HLA-DR is missing" in message
    assert "CD19 is" not in message
    with pytest.raises(PanelError, match="HLA-DR is missing"):
        columns_in_study(panel, other)


def test_two_channels_of_one_marker_are_ambiguous_in_another_file(tmp_path: Path) -> None:
    panel = resolve_panel(fcs(tmp_path, ("Pr141Di", "CD45"), "CD3"))
    with pytest.raises(ModelError, match="CD45 is ambiguous"):
        columns_of(panel, fcs(tmp_path, ("A1", "CD45"), ("A2", "CD45"), "CD3", name="b.fcs"))
    # The one on the same channel as in the first file is used.
    settled = fcs(tmp_path, ("A1", "CD45"), ("Pr141Di", "CD45"), "CD3", name="c.fcs")
    assert columns_of(panel, settled).tolist() == [1, 2]


def test_names_of_one_antigen_are_one_marker_in_another_file(tmp_path: Path) -> None:
    panel = resolve_panel(fcs(tmp_path, ("X1", "CD197_CCR7"), ("X2", "CD56 PE"), ("X3", "CD90bio")))
    other = fcs(tmp_path, ("Y1", "CD4_CD20"), ("Y2", "NCAM1"), ("Y3", "CD90"), ("Y4", "CCR7 FITC"), name="b.fcs")
    assert columns_of(panel, other).tolist() == [3, 1, 2]


def test_the_compensated_copy_of_a_marker_is_taken_in_another_file(tmp_path: Path) -> None:
    panel = resolve_panel(fcs(tmp_path, ("FITC-A", "CD3"), ("PE-A", "CD4")))
    both = fcs(tmp_path, ("Comp-FITC-A", "CD3"), ("FITC-A", "CD3"), ("Comp-PE-A", "CD4"), ("PE-A", "CD4"), name="b.fcs")
    assert columns_of(panel, both).tolist() == [0, 2]


# --- published files ---


@pytest.mark.corpus
@needs_shared_data
def test_markers_of_the_flowsom_file_by_the_names_of_its_paper() -> None:
    file = open_fcs(SHARED / "flowsom_ff.fcs")
    names = ["CD8", "l/d", "TCRyd", "CD45", "TCRb", "NK1/1", "CD4", "CD19", "CD3"]
    panel = resolve_panel(file, markers=names)
    assert list(panel.names) == names
    assert [file.channels[column].label for column in columns_of(panel, file)] == names
    default = ["CD8", "TCRyd", "CD45", "TCRb", "NK1/1", "CD4", "CD19", "CD3", "GFP"]
    assert sorted(resolve_panel(file).names) == sorted(default)


@pytest.mark.corpus
@needs_shared_data
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "nilsson_rare.fcs",
            "CD38 CD34 CD123 CD19 CD10 CD110 CD45 CD3 CD45RA CD11b CD4 CD49fpur CD90bio",
        ),
        ("multicenter/1.fcs", "ch0 ch1 ch2 ch3 ch4 ch5 ch6 ch7"),
        ("hipc_stanford/1228_1A.fcs", "CCR7 CD4 CD45RA CD3 HLADR CD38 CD8"),
        ("fcs_corpus/whitews+FlowIO__data1.fcs", "CD4@FITC CD8@B@PE CD3@PerCP CD8@APC"),
        (
            "fcs_corpus/phipsonlab+SuperCellCyto__Data23_Panel3_base_NR4_Patient9.fcs",
            "CD1c CD86 CD14 CD16 PD-L1 CD19 CD64 CD11b CD303 CD34 CD141 CD61 CD33 CD45 CD3 CD56 CD11c HLA-DR CD7 CD209 "
            "CD38 CD123 CD62L CD66b ICAM-1",
        ),
        (
            "fcs_corpus/ChristofSeiler+Ascona_Talk__PBMC8_30min_patient1_Reference.fcs",
            "CD3 CD45 CD4 CD20 CD33 CD123 CD14 IgM HLA-DR CD7",
        ),
    ],
)
def test_default_panels_of_published_files(name: str, expected: str) -> None:
    names = resolve_panel(open_fcs(SHARED / name)).names
    assert sorted(names) == sorted(word.replace("@", " ") for word in expected.split())


@pytest.mark.corpus
@needs_shared_data
def test_surface_markers_of_published_files_by_name() -> None:
    bodenmiller = ["CD3", "CD45", "CD4", "CD20", "CD33", "CD123", "CD14", "IgM", "HLA-DR", "CD7"]
    for well in ("H01", "H12"):
        file = open_fcs(SHARED / "bodenmiller2012" / f"{well}.fcs")
        assert resolve_panel(file, markers=bodenmiller).names == tuple(bodenmiller)
    marrow = open_fcs(SHARED / "bendall2011_marrow1.fcs")
    surface = [channel.name for channel in marrow.channels[:13]]
    assert columns_of(resolve_panel(marrow, markers=surface), marrow).tolist() == list(range(13))
    huimm = open_fcs(SHARED / "huimm_pbmc.fcs")
    assert len(resolve_panel(huimm)) == 30
    assert columns_of(resolve_panel(huimm, markers=["CD3", "CD45"]), huimm).tolist() == [
        [channel.name for channel in huimm.channels].index(name) for name in ("170Er_CD3", "89Y_CD45")
    ]
    assert len(resolve_panel(open_fcs(SHARED / "levine32_balanced1500.fcs"))) == 32

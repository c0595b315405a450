"""Names of channels as instruments and tools write them; expectations are read from the names by hand."""

from pathlib import Path

import numpy as np
import pytest

from cytovae.errors import ModelError, PanelError, UsageError
from cytovae.events.channel_names import antibody, channel_uses, find_channels, marker_of
from cytovae.events.panel import Marker, Panel, columns_in_study, columns_of, default_panel, resolve_panel
from cytovae.events.panel_table import read_panel
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import FcsFile, open_fcs
from cytovae.fcs.write import write_fcs

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
needs_shared_data = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not on this machine")


def channels(*names: str | tuple[str, str]) -> tuple[Channel, ...]:
    """Channels from $PnN, or from ($PnN, $PnS)."""
    pairs = [(name, "") if isinstance(name, str) else name for name in names]
    return tuple(Channel(index, name, label, 1024.0) for index, (name, label) in enumerate(pairs))


def fcs(folder: Path, *names: str | tuple[str, str], name: str = "a.fcs") -> FcsFile:
    path = folder / name
    write_fcs(path, np.zeros((2, len(names)), dtype=np.float32), channels(*names))
    return open_fcs(path)


# --- what a name says ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("141Pr_CD45", "CD45"),
        ("141Pr-CD45", "CD45"),
        ("141Pr CD45", "CD45"),
        ("89Y_CD45", "CD45"),
        ("Pr141Di_CD45", "CD45"),
        ("CD45_Y89", "CD45"),
        ("CD3_CD19_Pr141", "CD3_CD19"),
        ("CD45(In115)Dd", "CD45"),
        ("CD45(In115)Di", "CD45"),
        ("CD3(110:114)Dd", "CD3"),
        ("CD235-61-7-15(In113)Di", "CD235-61-7-15"),
        ("141Pr_CD196_CCR6", "CD196_CCR6"),
        ("173Yb_HLA-DR", "HLA-DR"),
        ("HLA-DR", "HLA-DR"),
        ("NK1/1", "NK1/1"),
        ("l/d", "l/d"),
        ("H-2", "H-2"),
        ("CD110", "CD110"),  # a marker: cadmium would be Cd110
        ("CD45 (RA)", "CD45 (RA)"),
        ("120g8", "120g8"),
        ("PU.1_Gd157", "PU.1"),
        ("  CD4 ", "CD4"),
        ("Pr141Di", ""),
        ("(Rh103)Di", ""),
        ("195Pt", ""),
        ("191", ""),
        ("", ""),
    ],
)
def test_isotopes_are_taken_off_and_nothing_else(text: str, expected: str) -> None:
    assert antibody(text) == expected


@pytest.mark.parametrize(
    ("name", "label", "expected"),
    [
        ("Pr141Di", "141Pr_CD45", "CD45"),
        ("APC-A", "CD3", "CD3"),
        ("APC-A", "", "APC-A"),
        ("CD45(In115)Dd", "", "CD45"),
        ("Ir191Di", "191", "Ir191Di"),
        ("Pt195Di", "195Pt", "Pt195Di"),
    ],
)
def test_the_marker_comes_from_the_label_then_from_the_name(name: str, label: str, expected: str) -> None:
    assert marker_of(Channel(0, name, label, 1.0)) == expected


NEVER_MARKERS = [
    *("FSC-A", "fsc-h", "FSC", "SSC-W", "SSC1-Height", "405-SSC", "FSCArea", "FS INT LIN", "SS-A", "FSC PMT-A"),
    *("SSC LogH", "405nm 405SSC (405/10) LogH", "Time", "TIME2", "HDR-T", "Time (204.80 sec.)", "Time LSW"),
    *("Event_length", "Cell_length", "Event #", "event_number", "file_number", "cell_id", "label", "sample"),
    *("individual", "sample_id", "batch", "Center", "Offset", "Width", "Residual", "DNA1", "DNA-2", "191Ir_DNA1"),
    *("DNA1(Ir191)Di", "Ir193Di", "Ce140Di", "140Ce_Beads", "beadDist", "EQ4 Beads", "Viability", "Live/Dead", "l/d"),
    *("LiveDead", "Cisplatin", "195Pt_Cisplatin", "Pt195Di", "198Pt_Dead", "PI", "PI/PE-Cy5-A", "7-AAD", "DAPI-A"),
    *("BC1", "BC2(Pr141)Dd", "BC103", "Pd102Di", "102Pd_BC1", "Barcode", "empty_I127", "190BCKG"),
]  # fmt: skip


@pytest.mark.parametrize("name", NEVER_MARKERS)
def test_technical_channels_are_not_markers(name: str) -> None:
    assert not channel_uses(channels("CD3", name, "CD4"))[1].used
    assert not channel_uses(channels(("X1", "CD3"), ("X2", name), ("X3", "CD4")))[1].used


@pytest.mark.parametrize(
    "name",
    [
        *("CD45", "CD3", "HLA-DR", "NK1/1", "H-2", "TIM-3", "FoxP3", "FSCN1", "BCL2", "PI16", "DEC205"),
        *("CD15s", "Siglec-8", "EQTN", "IDO1", "DNAM-1", "Livin", "PD-1", "SLAMF6", "Ki67", "ch0", "FL1-H", "CD62L"),
    ],
)
def test_names_that_only_resemble_technical_ones_are_markers(name: str) -> None:
    assert channel_uses(channels("CD19", name, "CD4"))[1].used


def test_an_antibody_on_a_metal_of_customary_use_is_a_marker() -> None:
    uses = channel_uses(channels(("Ce140Di", "140Ce_CD5"), ("Pd105Di", "105Pd_CD45"), ("Pd110Di", "110Pd"), "Pt198Di"))
    assert [use.used for use in uses] == [True, True, False, False]
    assert [use.reason for use in uses] == ["", "", "barcode", "viability"]


def test_detectors_without_antibody_count_only_where_none_is_named() -> None:
    stained = channels(("APC-A", "CD3"), ("PE-A", "CD4"), ("Qdot 605-A", ""), "FSC-A")
    assert [use.marker for use in channel_uses(stained) if use.used] == ["CD3", "CD4"]
    unstained = channels("APC-A", "PE-A", "FSC-A")
    assert [use.marker for use in channel_uses(unstained) if use.used] == ["APC-A", "PE-A"]


def test_of_area_height_and_width_only_the_area_counts() -> None:
    detectors = channels("BL1-A", "BL1-H", "BL1-W", "BL2-H", "VL1-Height", "VL1-Area")
    assert [use.channel.name for use in channel_uses(detectors) if use.used] == ["BL1-A", "BL2-H", "VL1-Area"]
    # The area of an unstained pair must not push out the stained height.
    calibur = channels(("FL1-H", "CD4 FITC"), ("FL2-H", "CD8 PE"), ("FL2-A", ""))
    assert [use.marker for use in channel_uses(calibur) if use.used] == ["CD4 FITC", "CD8 PE"]


# --- asking for channels ---


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("CD45", 0), ("cd45", 0), ("Pr141Di", 0), ("pr141di", 0), ("141Pr_CD45", 0), ("142Nd_CD45", 0), ("CD 45", 0),
        ("HLADR", 1), ("hla-dr", 1), ("HLA_DR", 1), ("NK1/1", 2), ("nk1/1", 2), ("CD16", 3), ("Time", 4),
    ],
)  # fmt: skip
def test_a_channel_is_found_by_either_name(asked: str, expected: int) -> None:
    panel = channels(("Pr141Di", "141Pr_CD45"), ("Yb173Di", "173Yb_HLA-DR"), ("PE-A", "NK1/1"), "CD16", "Time", "CD1-6")
    assert [channel.index for channel in find_channels(panel, asked)] == [expected]


def test_hyphens_between_digits_are_kept() -> None:
    assert not find_channels(channels("CD1-6"), "CD16")


def test_the_exact_name_wins_over_a_looser_one() -> None:
    assert [channel.index for channel in find_channels(channels("cd4", "CD4", "C-D4"), "CD4")] == [1]


def test_an_unknown_name_is_refused_with_the_nearest(tmp_path: Path) -> None:
    file = fcs(tmp_path, ("Pr141Di", "141Pr_CD45"), ("Nd142Di", "142Nd_CD19"))
    with pytest.raises(PanelError, match=r"CD54.*Nearest: CD45") as caught:
        resolve_panel(file, markers=["CD19", "CD54"])
    assert caught.value.exit_code == 3
    assert caught.value.file == str(file.path)


def test_an_ambiguous_name_is_refused_and_the_channel_settles_it(tmp_path: Path) -> None:
    file = fcs(tmp_path, ("Cd112Di", "CD14"), ("Cd114Di", "CD14"), ("Yb170Di", "CD3"))
    with pytest.raises(PanelError, match=r"Cd112Di \(CD14\), Cd114Di \(CD14\)"):
        resolve_panel(file, markers=["CD14"])
    panel = resolve_panel(file, markers=["CD3", "Cd114Di"])
    assert panel.names == ("CD3", "CD14")
    assert columns_of(panel, file).tolist() == [2, 1]


def test_channels_that_share_a_marker_are_told_apart_by_default(tmp_path: Path) -> None:
    file = fcs(tmp_path, ("Cd112Di", "CD14"), ("Yb170Di", "CD3"), ("Cd114Di", "CD14"))
    panel = resolve_panel(file)
    assert panel.names == ("CD14 [Cd112Di]", "CD3", "CD14 [Cd114Di]")
    swapped = fcs(tmp_path, ("Cd114Di", "CD14"), ("Cd112Di", "CD14"), ("Yb170Di", "CD3"), name="b.fcs")
    assert columns_of(panel, swapped).tolist() == [1, 2, 0]
    assert resolve_panel(file, exclude=["CD14"]).names == ("CD3",)


def test_a_channel_asked_for_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PanelError, match="twice, as 'CD3' and 'X'"):
        resolve_panel(fcs(tmp_path, ("X", "CD3")), markers=["CD3", "X"])


def test_excluding_what_is_not_there_is_refused(tmp_path: Path) -> None:
    file = fcs(tmp_path, "CD3", "CD4", "Time")
    assert resolve_panel(file, exclude=["cd4"]).names == ("CD3",)
    with pytest.raises(PanelError, match="CD44"):
        resolve_panel(file, exclude=["CD44"])
    with pytest.raises(PanelError, match="at least one"):
        resolve_panel(file, exclude=["CD3", "CD4"])


def test_technical_channels_become_markers_when_named(tmp_path: Path) -> None:
    file = fcs(tmp_path, "FSC-A", "CD3", "Time")
    assert resolve_panel(file, markers=["Time", "FSC-A"]).names == ("Time", "FSC-A")


def test_a_file_without_markers_says_so(tmp_path: Path) -> None:
    with pytest.raises(PanelError, match="FSC-A, Time"):
        resolve_panel(fcs(tmp_path, "FSC-A", "Time"))


def test_cofactors_are_positive() -> None:
    for cofactor in (0.0, -5.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="cofactor"):
            Marker("CD3", "X", cofactor)
    panel = default_panel(channels("CD3", "CD4"), 150.0)
    assert panel.cofactors.dtype == np.float32
    assert panel.cofactors.tolist() == [150.0, 150.0]


def test_a_panel_has_markers_and_none_twice() -> None:
    with pytest.raises(UsageError, match="at least one"):
        Panel(())
    with pytest.raises(UsageError, match="CD3"):
        Panel((Marker("CD3", "X", 5.0), Marker("CD3", "Y", 5.0)))


# --- a panel table ---


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_panel_table_chooses_renames_and_sets_cofactors(tmp_path: Path, separator: str) -> None:
    file = fcs(tmp_path, ("Pr141Di", "141Pr_CD45"), ("Nd142Di", "142Nd_CD19"), ("Er170Di", "170Er_CD3"), "Time")
    rows = ["Channel,Marker,use,cofactor", "Er170Di,T3,yes,10", "CD19,,1,", "Pr141Di,CD45,0,7", ""]
    table = tmp_path / "panel.csv"
    table.write_text("\ufeff" + "\r\n".join(rows).replace(",", separator), encoding="utf-8")
    panel = resolve_panel(file, panel_csv=table, cofactor=6.0)
    assert panel.names == ("T3", "CD19")
    assert panel.cofactors.tolist() == [10.0, 6.0]
    # The new name is not in any file: the channel and the antibody it carried lead to it.
    assert columns_of(panel, file).tolist() == [2, 1]
    other = fcs(tmp_path, ("Nd150Di", "150Nd_CD3"), ("Er170Di", "170Er_CD8"), ("Nd142Di", "142Nd_CD19"), name="b.fcs")
    assert columns_of(panel, other).tolist() == [0, 2]
    with pytest.raises(UsageError, match="not both"):
        resolve_panel(file, panel_csv=table, markers=["CD19"])


def test_a_panel_table_finds_the_marker_where_the_channel_is_another(tmp_path: Path) -> None:
    table = tmp_path / "panel.csv"
    table.write_text("channel,marker\nPr141Di,CD45\n")
    panel = resolve_panel(fcs(tmp_path, ("Nd142Di", "142Nd_CD45")), panel_csv=table)
    assert [(marker.name, marker.channel) for marker in panel.markers] == [("CD45", "Nd142Di")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,use\nCD3,1\n", "header.*columns channel, marker"),
        ("", "header"),
        ("marker,use\nCD3,maybe\n", "line 2, use.*'maybe'"),
        ("marker,cofactor\nCD3,5\nCD4,-1\n", "line 3, cofactor.*'-1'"),
        ("marker,cofactor\nCD3,five\n", "line 2, cofactor.*'five'"),
        ("marker,use\nCD3,0\n", "no marker to use"),
        ("channel,marker,use\n,,1\n", "line 2.*neither"),
        ("marker\nCD3\ncd3\n", "twice"),
        ("marker\nCD99\n", "no channel called 'CD99'"),
    ],
)
def test_a_bad_panel_table_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "panel.csv"
    table.write_text(text)
    with pytest.raises(PanelError, match=message):
        resolve_panel(fcs(tmp_path, "CD3", "CD4"), panel_csv=table)


def test_a_missing_panel_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PanelError, match="nowhere"):
        read_panel(tmp_path / "nowhere.csv")


# --- the same markers in another file ---


def test_columns_follow_the_marker_whatever_the_order_and_the_isotope(tmp_path: Path) -> None:
    first = fcs(tmp_path, ("Pr141Di", "141Pr_CD45"), ("Nd142Di", "142Nd_CD19"), "Time")
    second = fcs(tmp_path, "Time", ("Pr141Di", "141Pr_CD19"), ("Nd142Di", "142Nd_cd45"), name="b.fcs")
    panel = resolve_panel(first)
    assert columns_of(panel, first).tolist() == [0, 1]
    assert columns_of(panel, second).tolist() == [2, 1]
    assert columns_in_study(panel, second).tolist() == [2, 1]


def test_columns_fall_back_on_the_channel_but_never_onto_another_antibody(tmp_path: Path) -> None:
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
    # One of them on the channel of the first file settles it.
    settled = fcs(tmp_path, ("A1", "CD45"), ("Pr141Di", "CD45"), "CD3", name="c.fcs")
    assert columns_of(panel, settled).tolist() == [1, 2]


# --- published files ---


@needs_shared_data
def test_flowsom_file_by_the_names_its_paper_uses() -> None:
    file = open_fcs(SHARED / "flowsom_ff.fcs")
    asked = ["CD8", "l/d", "TCRyd", "CD45", "TCRb", "NK1/1", "CD4", "CD19", "CD3"]
    panel = resolve_panel(file, markers=asked)
    assert list(panel.names) == asked
    assert [file.channels[column].label for column in columns_of(panel, file)] == asked
    default = ["CD8", "TCRyd", "CD45", "TCRb", "NK1/1", "CD4", "CD19", "CD3", "GFP"]
    assert sorted(resolve_panel(file).names) == sorted(default)


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
            "CD3 CD45 pNFkB pp38 CD4 CD20 CD33 pStat5 CD123 pAkt pStat1 pSHP2 pZap70 pStat3 CD14 pSlp76 pBtk pPlcg2 "
            "pErk pLat IgM pS6 HLA-DR CD7",
        ),
    ],
)
def test_default_panels_of_published_files(name: str, expected: str) -> None:
    names = resolve_panel(open_fcs(SHARED / name)).names
    assert sorted(names) == sorted(word.replace("@", " ") for word in expected.split())


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

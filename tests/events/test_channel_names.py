"""Names of channels as instruments and programs write them; the expected markers are read from the names."""

import pytest

from cytovae.events.channel_names import antibody, find_channels, marker_of
from cytovae.events.channel_use import channel_uses
from cytovae.fcs.channels import Channel


def channels(*names: str | tuple[str, str]) -> tuple[Channel, ...]:
    """Channels from $PnN or from ($PnN, $PnS)."""
    pairs = [(name, "") if isinstance(name, str) else name for name in names]
    return tuple(Channel(index, name, label, 1024.0) for index, (name, label) in enumerate(pairs))


# --- interpretation ---


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
        ("CD110", "CD110"),  # a marker; cadmium is Cd110
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
def test_only_isotopes_are_removed(text: str, expected: str) -> None:
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
def test_the_marker_comes_from_the_label_or_else_from_the_name(name: str, label: str, expected: str) -> None:
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
def test_names_that_resemble_technical_ones_are_markers(name: str) -> None:
    assert channel_uses(channels("CD19", name, "CD4"))[1].used


def test_an_antibody_on_a_technical_metal_is_a_marker() -> None:
    uses = channel_uses(channels(("Ce140Di", "140Ce_CD5"), ("Pd105Di", "105Pd_CD45"), ("Pd110Di", "110Pd"), "Pt198Di"))
    assert [use.used for use in uses] == [True, True, False, False]
    assert [use.reason for use in uses] == ["", "", "barcode", "viability"]


def test_detectors_without_antibody_are_used_only_if_no_antibody_is_named() -> None:
    stained = channels(("APC-A", "CD3"), ("PE-A", "CD4"), ("Qdot 605-A", ""), "FSC-A")
    assert [use.marker for use in channel_uses(stained) if use.used] == ["CD3", "CD4"]
    unstained = channels("APC-A", "PE-A", "FSC-A")
    assert [use.marker for use in channel_uses(unstained) if use.used] == ["APC-A", "PE-A"]


def test_only_the_area_of_a_detector_is_used() -> None:
    detectors = channels("BL1-A", "BL1-H", "BL1-W", "BL2-H", "VL1-Height", "VL1-Area")
    assert [use.channel.name for use in channel_uses(detectors) if use.used] == ["BL1-A", "BL2-H", "VL1-Area"]
    # An area without a stain must not exclude a stained height.
    calibur = channels(("FL1-H", "CD4 FITC"), ("FL2-H", "CD8 PE"), ("FL2-A", ""))
    assert [use.marker for use in channel_uses(calibur) if use.used] == ["CD4 FITC", "CD8 PE"]


# --- search ---


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CD45", 0), ("cd45", 0), ("Pr141Di", 0), ("pr141di", 0), ("141Pr_CD45", 0), ("142Nd_CD45", 0), ("CD 45", 0),
        ("HLADR", 1), ("hla-dr", 1), ("HLA_DR", 1), ("NK1/1", 2), ("nk1/1", 2), ("CD16", 3), ("Time", 4),
    ],
)  # fmt: skip
def test_a_channel_is_found_by_either_name(name: str, expected: int) -> None:
    panel = channels(("Pr141Di", "141Pr_CD45"), ("Yb173Di", "173Yb_HLA-DR"), ("PE-A", "NK1/1"), "CD16", "Time", "CD1-6")
    assert [channel.index for channel in find_channels(panel, name)] == [expected]


def test_hyphens_between_digits_matter() -> None:
    assert not find_channels(channels("CD1-6"), "CD16")


def test_an_exact_name_takes_precedence() -> None:
    assert [channel.index for channel in find_channels(channels("cd4", "CD4", "C-D4"), "CD4")] == [1]

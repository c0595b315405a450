"""Names of channels as instruments and programs write them; the expected markers are read from the names."""

import pytest

from cytovae.events.channel_names import antibody, find_channels, marker_of, metal_of, stain_of
from cytovae.fcs.channels import Channel


def channels(*names: str | tuple[str, str]) -> tuple[Channel, ...]:
    """Channels from $PnN or from ($PnN, $PnS)."""
    pairs = [(name, "") if isinstance(name, str) else name for name in names]
    return tuple(Channel(index, name, label, 1024.0) for index, (name, label) in enumerate(pairs))


# --- names ---


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
        ("Comp-FITC-A :: CD3", "", "CD3"),
        ("<PE-A (CD4)>", "", "CD4"),
        ("Nd142Di (CD19)", "", "CD19"),
        ("FITC-A (530/30)", "", "FITC-A"),
        ("FITC-A", "-", "FITC-A"),
        ("CD3", "column CD3 from dataset", "CD3"),
        ("CD3", "Pr141Di", "CD3"),
        ("CD4", "FITC-A", "CD4"),
    ],
)
def test_the_marker_comes_from_the_label_or_else_from_the_name(name: str, label: str, expected: str) -> None:
    assert marker_of(Channel(0, name, label, 1.0)) == expected


@pytest.mark.parametrize(
    ("name", "label", "analyte", "expected"),
    [
        ("APC-A", "CD3", "", "CD3"),
        ("Pr141Di", "141Pr_CD45", "", "CD45"),
        ("BV421-A", "", "CD3", "CD3"),
        ("BV421-A", "CD4", "CD3", "CD4"),
        ("BV421-A", "BV421-A", "CD3", "CD3"),
        ("PE-A", "PE-A", "", ""),
        ("PE-A", "PE", "", ""),
        ("PE-A", "-", "", ""),
        ("FL2-A", "APC-Cy7-A", "", ""),
        ("CD3", "CD3", "", ""),
        ("Ir191Di", "191", "", ""),
    ],
)
def test_a_stain_is_what_the_detector_does_not_say(name: str, label: str, analyte: str, expected: str) -> None:
    assert stain_of(Channel(0, name, label, 1.0, analyte)) == expected


def test_the_isotope_of_a_metal() -> None:
    assert [metal_of(text) for text in ("Pr141Di", "(Rh103)Di", "ArAr80Di", "141Pr_CD45", "CD110")] == [
        *("Pr141", "Rh103", "ArAr80"),
        *("", ""),
    ]


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


@pytest.mark.parametrize(
    ("name", "expected"),
    [("CCR7", 0), ("CD197", 0), ("NCAM", 1), ("CD56 PE", 1), ("Thy-1", 2), ("CD3", 3), ("IFN-γ", 4), ("PD1", 5)],
)
def test_a_channel_is_found_by_any_name_of_its_antigen(name: str, expected: int) -> None:
    panel = channels("CD197_CCR7", "CD56", "CD90bio", ("FL1-A", "CD3 FITC"), "IFNg", ("PE-A", "CD279"), "CD4_CD20")
    assert [channel.index for channel in find_channels(panel, name)] == [expected]
    assert not find_channels(panel, "CD4")
    assert not find_channels(panel, "CD20")


def test_two_channels_of_one_antigen_are_both_found() -> None:
    assert len(find_channels(channels("CD197", "CD197_CCR7"), "CCR7")) == 2

"""Which channels hold markers, by the names and keywords of the channels."""

from collections.abc import Sequence

import pytest

from cytovae.events.channel_use import (
    NOT_UNMIXED,
    ChannelUse,
    channel_uses,
    is_not_unmixed,
    state_markers_left_out,
    without_copies,
)
from cytovae.fcs.channels import Channel


def channels(*names: str | tuple[str, ...]) -> tuple[Channel, ...]:
    """Channels from $PnN or from ($PnN, $PnS, $PnANALYTE, $PnTYPE, $PnFEATURE)."""
    parts = [(name, "") if isinstance(name, str) else name for name in names]
    return tuple(Channel(index, name, label, 1024.0, *rest) for index, (name, label, *rest) in enumerate(parts))


def used(uses: Sequence[ChannelUse]) -> list[str]:
    return [use.channel.name for use in uses if use.used]


def reasons(uses: Sequence[ChannelUse]) -> dict[str, str]:
    return {use.channel.name: use.reason for use in uses if not use.used}


NEVER_MARKERS = [
    *("FSC-A", "405-SSC", "FS INT LIN", "Time", "Event_length", "Event #", "file_number", "cell_id", "label", "sample"),
    *("individual", "batch", "Center", "Width", "DNA1", "191Ir_DNA1", "DNA1(Ir191)Di", "Ir193Di", "Ce140Di"),
    *("140Ce_Beads", "beadDist", "Viability", "Live/Dead", "195Pt_Cisplatin", "Pt195Di", "198Pt_Dead", "PI", "7-AAD"),
    *("BC1", "BC2(Pr141)Dd", "Pd102Di", "102Pd_BC1", "empty_I127", "190BCKG", "131Xe_conta", "120Sn_Env"),
    *("142Ce_Norm_bead", "tSNE1", "FlowSOM_cluster", "cytovae_cluster", "OmiqFileIndex", "AF-A", "Comp-AF-A"),
    *("Zombie NIR-A", "FJComp-Zombie NIR-A", "Saturated", "Plate Row", "Xe131Di", "ArAr80Di", "FL1-W", "<Time>"),
    *("Comp-Zombie NIR-A :: Viability", "<SSC-A>", "PE-A (Live/Dead)"),
]  # fmt: skip


@pytest.mark.parametrize("name", NEVER_MARKERS)
def test_technical_channels_are_not_markers(name: str) -> None:
    assert not channel_uses(channels("CD3", name, "CD4"))[1].used
    assert not channel_uses(channels(("X1", "CD3"), ("X2", name), ("X3", "CD4")))[1].used


@pytest.mark.parametrize("name", ["CD45", "HLA-DR", "NK1/1", "H-2", "FSCN1", "PI16", "BCL2", "ch0", "FL1-H", "CD62L"])
def test_names_that_resemble_technical_ones_are_markers(name: str) -> None:
    assert channel_uses(channels("CD19", name, "CD4"))[1].used


def test_an_antibody_on_a_technical_metal_is_a_marker() -> None:
    uses = channel_uses(channels(("Ce140Di", "140Ce_CD5"), ("Pd105Di", "105Pd_CD45"), ("Pd110Di", "110Pd"), "Pt198Di"))
    assert [use.used for use in uses] == [True, True, False, False]
    assert [use.reason for use in uses] == ["", "", "barcode", "viability"]


def test_an_antibody_on_a_detector_that_is_named_after_a_dye_is_a_marker() -> None:
    uses = channel_uses(channels(("DAPI-A", "CD4"), ("7-AAD-A", "CD19"), ("PI-A", "HLA-DR"), ("Zombie NIR-A", "Live")))
    assert used(uses) == ["DAPI-A", "7-AAD-A", "PI-A"]
    assert channel_uses(channels(("FSC-A", "CD3"), ("PE-A", "CD4")))[0].reason == "scatter"


# --- channels without an antibody ---


def test_detectors_without_antibody_are_used_only_if_no_antibody_is_named() -> None:
    stained = channels(("APC-A", "CD3"), ("PE-A", "CD4"), ("Qdot 605-A", ""), "FSC-A")
    assert used(channel_uses(stained)) == ["APC-A", "PE-A"]
    assert used(channel_uses(channels("APC-A", "PE-A", "FSC-A"))) == ["APC-A", "PE-A"]


@pytest.mark.parametrize("label", ["", " ", "-", "PE-A", "pe-a", "PE", "FITC-A", "V2-A", "488-513/26"])
def test_a_label_that_repeats_the_detector_names_no_antibody(label: str) -> None:
    uses = channel_uses(channels(("APC-A", "CD3"), ("PE-A", label), "BV421-A", "BV510-A"))
    assert used(uses) == ["APC-A"]
    assert uses[1].reason == "no antibody named"


def test_antigens_in_pnn_are_markers_beside_labelled_channels() -> None:
    assert used(channel_uses(channels(("APC-A", "CD3"), "CD4", "PE-A"))) == ["APC-A", "CD4"]
    swapped = channel_uses(channels(("CD3", "Pr141Di"), ("CD4", "FITC-A")))
    assert [use.marker for use in swapped if use.used] == ["CD3", "CD4"]


def test_viability_as_the_only_label_leaves_the_detectors() -> None:
    assert used(channel_uses(channels("APC-A", "PE-A", ("BV510-A", "Live/Dead")))) == ["APC-A", "PE-A"]


def test_labels_of_spectre_repeat_the_column() -> None:
    names = ("CD3", "CD4", "FlowSOM_cluster", "Group")
    uses = channel_uses(channels(*((name, f"column {name} from dataset") for name in names)))
    assert [use.marker for use in uses if use.used] == ["CD3", "CD4"]


# --- copies of a detector ---


def test_only_the_area_of_a_detector_is_used() -> None:
    detectors = channels("BL1-A", "BL1-H", "BL1-W", "BL2-H", "VL1-Height", "VL1-Area")
    assert used(channel_uses(detectors)) == ["BL1-A", "BL2-H", "VL1-Area"]
    assert reasons(channel_uses(detectors))["BL1-H"] == "height of the pulse; BL1-A is used"
    # An area without a stain must not exclude a stained height.
    calibur = channels(("FL1-H", "CD4 FITC"), ("FL2-H", "CD8 PE"), ("FL2-A", ""))
    assert used(channel_uses(calibur)) == ["FL1-H", "FL2-H"]


def test_heights_are_used_if_the_instrument_records_few_areas() -> None:
    assert used(channel_uses(channels("FL1-H", "FL2-H", "FL3-H", "FL4-H", "FL2-A"))) == [
        "FL1-H",
        "FL2-H",
        "FL3-H",
        "FL4-H",
    ]


def test_the_logarithmic_copy_of_a_detector_is_used() -> None:
    names = ("FL1 Log", "FL1 Lin", "FL2-Area", "FL2-Log_Area", "FL3 INT LIN", "FL3 INT LOG", "FL3 PEAK LIN")
    assert used(channel_uses(channels(*names))) == ["FL1 Log", "FL2-Log_Area", "FL3 INT LOG"]


@pytest.mark.parametrize("form", ["Comp-{}", "FJComp-{}", "<{}>"])
def test_the_compensated_copy_of_a_detector_is_used(form: str) -> None:
    names = [("FITC-A", "CD3"), ("PE-A", "CD4")]
    both = channels(*names, *((form.format(name), label) for name, label in names))
    uses = channel_uses(both)
    assert used(uses) == [form.format("FITC-A"), form.format("PE-A")]
    assert uses[0].reason == f"not compensated; {form.format('FITC-A')} (CD3) is used"
    # It has the stain of the raw channel if it names none.
    unlabelled = channel_uses(channels(*names, *(form.format(name) for name, _ in names)))
    assert [use.marker for use in unlabelled if use.used] == ["CD3", "CD4"]


def test_two_antigens_or_equal_names_are_no_copies() -> None:
    assert len(used(channel_uses(channels(("FL1-A", "CD3"), ("FL1-H", "CD4"))))) == 2
    assert len(used(channel_uses(channels(("FITC-A", "CD3"), ("FITC-A", "CD3"))))) == 2


def test_of_channels_with_one_name_copies_are_left_out() -> None:
    both = channels(("FITC-A", "CD3"), ("Comp-FITC-A", "CD3"), ("PE-A", "CD4"))
    assert without_copies(both, both[:2]) == (both[1],)
    assert without_copies(both, (both[0], both[2])) == (both[0], both[2])


# --- spectral instruments ---

RAW = [f"{laser}{number}-A" for laser in ("V", "B", "R") for number in range(1, 12)]


def test_a_file_of_raw_spectral_detectors_is_not_unmixed() -> None:
    uses = channel_uses(channels("FSC-A", *RAW, "Time"))
    assert is_not_unmixed(uses)
    assert {use.reason for use in uses[1:-1]} == {NOT_UNMIXED}
    assert not is_not_unmixed(channel_uses(channels("FSC-A", "FITC-A")))
    typed = channels(*((f"X{number}-A", "", "", "Raw_Fluorescence") for number in range(30)))
    assert is_not_unmixed(channel_uses(typed))


def test_raw_detectors_beside_unmixed_channels_are_left_out() -> None:
    uses = channel_uses(channels(*RAW, "BV421-A", "FITC-A", "AF-A"))
    assert used(uses) == ["BV421-A", "FITC-A"]
    assert uses[0].reason == "raw spectral detector; unmixed channels are used"
    labelled = channel_uses(channels(*RAW, ("BV421-A", "CD3")))
    assert used(labelled) == ["BV421-A"]
    typed = channels(("X1-A", "", "", "Raw_Fluorescence"), ("PE-A", "", "", "Unmixed_Fluorescence"))
    assert used(channel_uses(typed)) == ["PE-A"]


def test_raw_fluorescence_of_a_conventional_instrument_is_used() -> None:
    typed = channels(*((name, "", "", "Raw_Fluorescence") for name in ("FITC-A", "PE-A", "APC-A")))
    assert used(channel_uses(typed)) == ["FITC-A", "PE-A", "APC-A"]
    stained = channels(*((f"V{number}-A", f"CD{number}", "", "Raw_Fluorescence") for number in range(1, 31)))
    assert len(used(channel_uses(stained))) == 30


# --- keywords of FCS 3.2 ---


def test_the_analyte_names_the_marker_and_the_type_excludes() -> None:
    uses = channel_uses(
        channels(
            ("BV421-A", "", "CD3", "Unmixed_Fluorescence"),
            ("PE-A", "CD4", "other", "Unmixed_Fluorescence"),
            ("Ecc (LL)", "", "", "Shape"),
            ("Class 1", "", "", "Classification"),
            ("Ticks", "", "", "Time"),
            ("Diode", "", "", "Forward_Scatter"),
        )
    )
    assert [use.marker for use in uses if use.used] == ["CD3", "CD4"]
    assert list(reasons(uses).values()) == ["image feature", "label", "time", "scatter"]


def test_the_feature_excludes_images_and_names_the_part_of_the_pulse() -> None:
    uses = channel_uses(
        channels(
            ("PE", "CD4", "", "", "Area"),
            ("APC", "CD8", "", "", "MaskSize"),
            ("FITC-A", "CD3", "", "", "Area"),
            ("FITC", "CD3", "", "", "Height"),
        )
    )
    assert used(uses) == ["PE", "FITC-A"]


# --- classes ---


def test_state_markers_are_left_out_unless_asked_for() -> None:
    panel = channels(("Pr141Di", "141Pr_CD3"), ("Nd142Di", "142Nd_pSTAT5"), ("Nd143Di", "143Nd_Ki-67"), "Time")
    uses = channel_uses(panel)
    assert [(use.marker, use.used, use.marker_class) for use in uses[:3]] == [
        ("CD3", True, "type"),
        ("pSTAT5", False, "state"),
        ("Ki-67", False, "state"),
    ]
    assert uses[1].reason == "state marker"
    assert uses[3].marker_class == ""
    assert state_markers_left_out(panel) == ("pSTAT5", "Ki-67")
    assert len(used(channel_uses(panel, state_markers=True))) == 3

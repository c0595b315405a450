"""Names of detectors as instruments write them."""

import pytest

from cytovae.events.detector_names import Pulse, names_detector, pulse_of, raw_spectral_detectors, without_pulse


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("FITC-A", Pulse("fitc", False, "a", "")),
        ("Comp-FITC-A", Pulse("fitc", True, "a", "")),
        ("FJComp-PE-Cy7-A", Pulse("pe-cy7", True, "a", "")),
        ("<APC-A>", Pulse("apc", True, "a", "")),
        ("FL1-Height", Pulse("fl1", False, "h", "")),
        ("FL1-Log_Area", Pulse("fl1", False, "a", "log")),
        ("FL1 INT LOG", Pulse("fl1", False, "a", "log")),
        ("FS TOF LIN", Pulse("fs", False, "t", "lin")),
        ("FL1 Lin", Pulse("fl1", False, "", "lin")),
        ("GRN-HLog", Pulse("grn", False, "h", "log")),
        ("SSC LogH", Pulse("ssc", False, "h", "log")),
        ("V500-T", Pulse("v500", False, "t", "")),
        ("CD4", Pulse("cd4", False, "", "")),
        ("UV1 (375)-A", Pulse("uv1 (375)", False, "a", "")),
    ],
)
def test_the_pulse_parameter_is_separated_from_the_detector(name: str, expected: Pulse) -> None:
    assert pulse_of(name) == expected


def test_a_name_without_its_pulse_parameter() -> None:
    assert without_pulse("Comp-Zombie NIR-A") == "Zombie NIR"
    assert without_pulse("HLA-DR") == "HLA-DR"


@pytest.mark.parametrize(
    "name",
    [
        *("FITC-A", "PE-Cy7-A", "PerCP-Cy5-5-A", "APC-H7", "BV421-A", "Alexa Fluor 700-A", "PE-Texas Red-A", "FL1-H"),
        *("FL1-Area FL-Area", "488-513/26", "Violet 1", "V2-A", "BL1-A", "Qdot 605-A", "Pacific Blue-A", "320CH5-A"),
        *("UV1 (375)-A", "PC5.5-A", "ECD-A", "APC-Fire 810-A", "Spark Blue 550-A", "AmCyan-A", "APC-R700", "KrO"),
    ],
)
def test_detectors_and_fluorochromes_name_no_antigen(name: str) -> None:
    assert names_detector(name)


@pytest.mark.parametrize(
    "name", ["CD4", "CD4 FITC", "HLA-DR", "GFP", "bob", "Ki67", "TCRgd", "A", "IgG1", "mCherry-A", "xxx"]
)
def test_antigens_and_reporters_are_no_detectors(name: str) -> None:
    assert not names_detector(name)


AURORA = [f"{laser}{number}-A" for laser, n in (("V", 16), ("B", 14), ("R", 8)) for number in range(1, n + 1)]


@pytest.mark.parametrize(
    "names",
    [
        AURORA,
        [f"B{number}-A" for number in range(1, 15)],
        [f"{laser}CH{number}-A" for laser in (405, 488, 637) for number in range(1, 12)],
        [f"UV{number} ({350 + 15 * number})-A" for number in range(1, 23)],
        [f"V{wavelength}-A" for wavelength in range(424, 824, 20)],
        [f"FL{number:02}-A" for number in range(51)],
    ],
)
def test_raw_spectral_detectors_of_every_maker(names: list[str]) -> None:
    assert raw_spectral_detectors([*names, "FITC-A"], beside_others=False) == set(names)


@pytest.mark.parametrize(
    "names",
    [
        ["V1-A", "V2-A", "B1-A", "B2-A", "B3-A", "Y1-A", "R1-A", "R2-A"],
        ["BL1-A", "BL2-A", "VL1-A", "RL1-A"],
        [f"FL{number}-Area" for number in range(1, 38)],
        ["FITC-A", "PE-A", "APC-A"],
    ],
)
def test_conventional_detectors_are_not_raw_spectral_ones(names: list[str]) -> None:
    assert not raw_spectral_detectors(names, beside_others=False)


def test_beside_unmixed_channels_a_few_raw_detectors_suffice() -> None:
    names = ["V1-A", "B1-A", "R1-A", "R718-A", "V450-A"]
    assert raw_spectral_detectors(names, beside_others=True) == {"V1-A", "B1-A", "R1-A"}

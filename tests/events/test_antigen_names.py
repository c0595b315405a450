"""Names of antigens as laboratories write them; the expected antigens are those of the CD and HGNC nomenclatures."""

import csv
from importlib import resources

import pytest

from cytovae.events.antigen_names import antigen_key, known_antigen

SAME = [
    ("CD197", "CCR7"),
    ("CD197_CCR7", "CCR7"),
    ("CCR7 (CD197)", "CD197"),
    ("CD56", "NCAM"),
    ("CD56_NCAM", "NCAM1"),
    ("CD123", "IL-3R"),
    ("CD123_IL-3R", "IL3RA"),
    ("CD127_IL-7Ra", "IL-7Rα"),
    ("CD25_IL-2Ra", "IL2RA"),
    ("CD183/CXCR3", "CXCR3"),
    ("CD185-CXCR5", "CXCR5"),
    ("CD194_CCR4", "CCR4"),
    ("CD196", "CCR6"),
    ("CD279", "PD-1"),
    ("PD1", "CD279 (PD-1)"),
    ("CD274", "PD-L1"),
    ("CD152", "CTLA4"),
    ("CD134", "OX40"),
    ("CD137", "4-1BB"),
    ("CD278", "ICOS"),
    ("CD16", "FcgRIII"),
    ("CD32", "FcγRII"),
    ("CD64", "FcgRI"),
    ("CD20", "MS4A1"),
    ("TCRgd", "TCR γ/δ"),
    ("TCRγδ", "TCR gamma/delta"),
    ("GDTCR", "TCRyd"),
    ("HLA-DR", "HLADR"),
    ("HLA DR", "HLA_DR"),
    ("CD8", "CD8a"),
    ("CD335", "NKp46"),
    ("CD366", "TIM-3"),
    ("CD223", "LAG3"),
    ("CD117", "c-Kit"),
    ("CD326", "EpCAM"),
    ("Ki-67", "MKI67"),
    ("FoxP3", "FOXP3"),
    ("RORγt", "RORC"),
    ("T-bet", "TBX21"),
    ("IFN-γ", "IFNG"),
    ("TNF-α", "TNFa"),
    ("Granzyme B", "GzmB"),
    ("CD45 (RA)", "CD45RA"),
    # purity, biotin, clones and fluorochromes
    ("CD90bio", "CD90"),
    ("CD49fpur", "CD49f"),
    ("CD90-biotin", "Thy-1"),
    ("CD34 purified", "CD34"),
    ("CD3 (UCHT1)", "CD3"),
    ("CD3 clone XY123", "CD3"),
    ("CD4_RPA-T4", "CD4"),
    ("CD19:SJ25C1", "CD19"),
    ("CD4 FITC", "CD4 PE-Cy7"),
    ("CD8-BV421", "CD8 Alexa Fluor 700"),
    ("CD45 PerCP-Cy5.5-A", "CD45"),
    ("cd3 VioBlue-A", "CD3"),
    ("CD4-A", "CD4"),
    ("Ly6G biotin", "Ly-6G"),
    ("anti-human CD3", "CD3"),
    # unknown antigens still lose what is no part of their name
    ("Xyz9 FITC", "Xyz9 BV421"),
    ("CD4_CD20 FITC", "CD4/CD20"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_names_of_one_antigen_match(one: str, other: str) -> None:
    assert antigen_key(one) == antigen_key(other) != ""


DIFFERENT = [
    ("CD4_CD20", "CD4"),
    ("CD4_CD20", "CD20"),
    ("CD3_CD19", "CD3"),
    ("CD16/32", "CD16"),
    ("CD45", "CD45RA"),
    ("CD45RA", "CD45RO"),
    ("CD1-6", "CD16"),
    ("CD15", "CD15s"),
    ("CD8", "CD8b"),
    ("CD8 B PE", "CD8"),
    ("IL-2", "IL-2R"),
    ("IL-17A", "IL-17F"),
    ("TNFa", "TNFR2"),
    ("HLA-A", "HLA-DR"),
    ("CD235-61-7-15", "CD235"),
    ("PD-1", "PD-L1"),
    ("TIM-3", "TIM-1"),
    ("CD62L", "CD62P"),
    ("Ly6C", "Ly6G"),
    ("CD66b", "CD66c"),
    ("SIRPa", "SIRPg"),
    ("p38", "p53"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_names_of_different_antigens_do_not_match(one: str, other: str) -> None:
    assert antigen_key(one) != antigen_key(other)


@pytest.mark.parametrize("name", ["FITC-A", "PE-Cy7-A", "Alexa Fluor 488", "BV421", "APC"])
def test_a_fluorochrome_is_no_antigen(name: str) -> None:
    assert antigen_key(name) == ""
    assert known_antigen(name) == ""


def test_the_table_names_no_antigen_twice() -> None:
    text = resources.files("cytovae.events").joinpath("antigen_aliases.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) > 300
    antigens = [row["antigen"] for row in rows]
    assert len(set(antigens)) == len(antigens)
    for row in rows:
        for name in (row["antigen"], row["gene"], *row["other names"].split("|")):
            if name:
                assert known_antigen(name) == row["antigen"], name


def test_hostile_names_take_no_time() -> None:
    for text in ("(" * 5000, "CD4 " * 5000, "a-" * 5000, "((1)" * 500, "\N{COMBINING ACUTE ACCENT}" * 100, ""):
        assert isinstance(antigen_key(text), str)

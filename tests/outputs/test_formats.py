"""The format of an output, from its name or an option."""

import sys

import pytest

from cytovae.errors import UsageError
from cytovae.outputs.formats import cell_format, output_format, suffix_of


def test_the_suffix_gives_the_format() -> None:
    assert [output_format(name) for name in ("a.parquet", "b.CSV", "-")] == ["parquet", "csv", "csv"]
    assert [output_format(f"x.{name}") for name in ("fcs", "clr")] == ["fcs", "clr"]
    assert [cell_format(name) for name in ("a.fcs", "a.parquet", "-")] == ["fcs", "parquet", "csv"]


def test_the_option_takes_precedence() -> None:
    assert output_format("a.txt", "csv") == "csv"
    assert [suffix_of(output_format("x", name)) for name in ("clr", "flowjo-csv", "fcs")] == [".clr", ".csv", ".fcs"]


@pytest.mark.parametrize(("name", "asked"), [("a.txt", None), ("a", None), ("a.csv", "xls")])
def test_an_unknown_format_raises_an_error(name: str, asked: str | None) -> None:
    for choose in (output_format, cell_format):
        with pytest.raises(UsageError, match="unknown"):
            choose(name, asked)


def test_fcs_cannot_go_to_standard_output() -> None:
    for choose in (output_format, cell_format):
        with pytest.raises(UsageError, match="standard output"):
            choose("-", "fcs")


def test_without_anndata_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("anndata", reason="the extra h5ad is not installed")
    assert output_format("x.h5ad") == "h5ad"
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(UsageError, match=r"'\.\[h5ad\]'"):
        output_format("x.h5ad")

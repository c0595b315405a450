"""Synthetic files of the kinds that users reported; each folder has a README with the source."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from flowio import FlowData

from cytovae.errors import FcsError
from cytovae.fcs.file import open_fcs

CASES = Path(__file__).parents[3] / "shared" / "data" / "field_cases"

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not CASES.is_dir(), reason="the shared data sets are not available"),
]


@pytest.mark.parametrize("kind", ["blank", "inf", "max", "na", "negative"])
def test_a_float_range_that_is_not_a_number_does_not_matter(kind: str) -> None:
    path = CASES / "pnr_not_a_number" / f"pnr_{kind}.fcs"
    file = open_fcs(path)
    assert any("$PnR of 'Time'" in note for note in file.notes)
    assert [np.isfinite(channel.range) for channel in file.channels] == [True] * 7 + [False]
    raw = np.fromfile(path, "<f4", offset=path.stat().st_size - file.n_events * 8 * 4).reshape(-1, 8)
    np.testing.assert_array_equal(file.read(), raw)


def test_both_data_sets_of_a_navios_file_are_read() -> None:
    path = CASES / "two_data_sets" / "navios.lmd"
    coarse, fine = open_fcs(path), open_fcs(path, data_set=1)
    (note,) = (note for note in coarse.notes if "data sets" in note)
    assert "--data-set 1 has the same events with a finer resolution" in note
    assert coarse.read().max() < 2**10 < fine.read().max() < 2**20
    origin = int(coarse.keywords["$NEXTDATA"])
    with path.open("rb") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = FlowData(stream, ignore_offset_error=True, nextdata_offset=origin).as_array(preprocess=False)
    np.testing.assert_array_equal(fine.read(), expected)


def test_a_wrong_tot_is_blamed() -> None:
    with pytest.raises(FcsError) as caught:
        open_fcs(CASES / "two_data_sets" / "tot_too_big.fcs")
    assert caught.value.field == "$TOT"
    assert "102" in caught.value.found
    assert "100 rows" in caught.value.expected

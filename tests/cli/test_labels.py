"""`train --labels` through the real app: what is refused, what is warned about, and the names in every output."""

import re
from pathlib import Path

import pandas as pd
import pytest
from helpers.command import Command
from helpers.sample_model import FILES

from cytovae.errors import InputError
from cytovae.fcs.file import open_fcs

TRAIN = Command(("train", str(FILES[0])), ("--device", "cpu", "--threads", "1"))
ASSIGN = Command(("assign",), ("--device", "cpu", "--threads", "1"))
GATES = pd.read_csv(FILES[0].with_suffix(".gates.csv"), keep_default_na=False, skip_blank_lines=False)["population"]


def written(folder: Path, labels: pd.Series) -> Path:
    path = folder / "labels.csv"
    labels.to_frame("population").to_csv(path, index=False)
    return path


@pytest.mark.parametrize(("kept", "found"), [([], "no labels"), (GATES.unique()[:1], "one population")])
def test_labels_of_one_population_or_none_end_training_before_it_begins(
    tmp_path: Path, kept: list[str], found: str
) -> None:
    labels = written(tmp_path, GATES.where(GATES.isin(kept), ""))
    assert found in TRAIN.refused(InputError, "-o", tmp_path / "m", "--labels", labels)
    assert not (tmp_path / "m").exists()


@pytest.mark.slow
def test_names_of_labels_are_in_every_output(tmp_path: Path) -> None:
    """Trained on one donor; truth are the gates of another. The largest population is scored, and names are exact."""
    spelled = GATES.copy()
    largest = GATES[GATES != ""].value_counts().index[0]
    spelled.iloc[GATES[largest == GATES].index[0]] = f" {largest.upper()} "
    labels = written(tmp_path, spelled)
    said = TRAIN.done(
        "-o", tmp_path / "m", "--labels", labels, "--steps", 300, "--support", 0, "--preset", "default"
    ).stderr
    assert "are taken for one population" in " ".join(said.split())
    assert "labelled training cells" in said
    ASSIGN.done(tmp_path / "m", FILES[1], "-o", tmp_path / "x.parquet", "--tables", tmp_path / "tables")
    cells = pd.read_parquet(tmp_path / "x.parquet")
    assert set(cells["population"]) <= {*GATES, "unknown"} - {""}
    truth = pd.read_csv(FILES[1].with_suffix(".gates.csv"), keep_default_na=False, skip_blank_lines=False)["population"]
    assert (cells["population"][truth == largest] == largest).mean() > 0.9
    of_name = cells[[f"p_{number}" for number in range(1, cells["cluster"].max() + 1)]].max(axis=1)
    known = cells["population"] != "unknown"
    assert (cells["population_probability"][known] >= of_name[known] - 1e-6).all()
    abundance = pd.read_csv(tmp_path / "tables" / "sample_abundance.csv").set_index("population")["cells"]
    unnamed = [name for name in abundance.index if name.startswith("cluster ")]
    assert abundance["unknown"] + abundance[unnamed].sum() == (~known).sum()
    of_clusters = pd.read_csv(tmp_path / "tables" / "clusters.csv").set_index("cluster")
    unknown = (~known).groupby(cells["cluster"]).sum().reindex(of_clusters.index, fill_value=0)
    assert of_clusters["cells_unknown"].tolist() == unknown.tolist()

    Command(("report",)).done(tmp_path / "m", FILES[1], "-o", tmp_path / "report.html")
    section = (tmp_path / "report.html").read_text("utf-8").partition('id="populations"')[2].partition("</table>")[0]
    rows = re.findall(r"</span>([^<]+)</span></td><td class=\"text\">[\d, ]*</td><td>([\d,]+)</td>", section)
    shown = {name: int(count.replace(",", "")) for name, count in rows}
    assert {name: count for name, count in shown.items() if count} == cells["population"].value_counts().to_dict()

    ASSIGN.done(tmp_path / "m", FILES[1], "-o", tmp_path / "x.fcs")
    copy = open_fcs(tmp_path / "x.fcs")
    index = [channel.name for channel in copy.channels].index("cytovae_population")
    number = copy.read([index])[:, 0].astype(int)
    texts = [copy.keywords[f"CYTOVAE_POPULATION_{each}"] for each in number]
    assert texts == cells["population"].tolist()

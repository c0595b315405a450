"""``cytovae compare``: from assigned cells and a sample sheet to tables and pictures."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.command import Command

from cytovae.errors import InputError, OutputError, UsageError
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import open_fcs
from cytovae.fcs.write import write_fcs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COMPARE = Command(("compare",))
SHARES = np.array([30, 20, 15, 12, 9, 7, 4, 3]) / 100
NAMES = [f"s{number}" for number in range(8)]
TABLES = ["abundance_long.csv", "abundance_wide.csv", "differential_abundance.csv"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight samples of 2,000 cells; cluster 7 has four times as many cells in the last four."""
    folder, rng = tmp_path_factory.mktemp("study"), np.random.default_rng(0)
    files = []
    for number, name in enumerate(NAMES):
        shares = SHARES * np.exp(rng.normal(0, 0.1, 8))
        shares[6] *= 4 if number >= 4 else 1
        cluster = rng.choice(np.arange(1, 9), 2000, p=shares / shares.sum())
        files.append(pd.DataFrame({"file": f"{name}.fcs", "event": np.arange(2000), "cluster": cluster}))
    cells = pd.concat(files)
    cells["population"] = np.where(cells["cluster"] == 7, "mDC", "unknown")
    cells.to_parquet(folder / "cells.parquet")
    rows = [f"{name},{'ctrl' if n < 4 else 'stim'},d{n % 4},{'pq'[n % 2]}" for n, name in enumerate(NAMES)]
    (folder / "samples.csv").write_text("file,condition,donor,batch\n" + "\n".join(rows) + "\n")
    return folder


@pytest.fixture
def no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_it(name: str) -> object:
        return None if name == "matplotlib" else find_spec(name)

    monkeypatch.setattr("cytovae.comparison.folder.find_spec", without_it)


def arguments(study: Path, output: Path, *more: object, sheet: str = "samples.csv") -> list[object]:
    return [
        *(study / "cells.parquet", "--samples", study / sheet, "--condition", "condition", "--output", output),
        *more,
    ]


def test_tables_pictures_and_summary(study: Path, tmp_path: Path) -> None:
    done = COMPARE.done(*arguments(study, tmp_path / "out", "--block", "donor"))
    assert "effects are against ctrl" in done.stderr
    assert "mDC: +2." in done.stderr
    assert "not compared without --files and --model" in done.stderr
    out = tmp_path / "out"
    assert sorted(path.name for path in out.glob("*.csv")) == TABLES
    long, wide = pd.read_csv(out / TABLES[0]), pd.read_csv(out / TABLES[1])
    found = pd.read_csv(out / TABLES[2]).set_index("population")
    assert (len(long), len(wide), len(found)) == (64, 8, 8)
    assert list(long) == ["sample", "condition", "donor", "population", "cells", "fraction"]
    assert long.groupby("sample")["cells"].sum().eq(2000).all()
    assert wide["mDC"].tolist() == pytest.approx(long[long["population"] == "mDC"]["fraction"].tolist())
    assert found.index[found["fdr"] <= 0.05].tolist() == ["mDC"]
    assert found.loc["mDC", "fold_change"] == pytest.approx(4, rel=0.15)
    assert found["df"].eq(3).all()
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["reference"], summary["groups"]) == ("ctrl", {"ctrl": 4, "stim": 4})
    assert summary["abundance"]["found_at_fdr_5_percent"] == 1
    pictures = {path.stem for path in (out / "figures").iterdir()}
    assert pictures == {"abundance_dots", "abundance_effects", "abundance_volcano", "samples_mds"}


@pytest.mark.usefixtures("no_matplotlib")
def test_joined_files_equal_one_file(study: Path, tmp_path: Path) -> None:
    cells = pd.read_parquet(study / "cells.parquet")
    cells["file"] = cells["file"].str.removesuffix(".fcs") + np.where(cells["event"] < 700, "_1.fcs", "_2.fcs")
    cells.to_parquet(tmp_path / "cells.parquet")
    sheet = pd.read_csv(study / "samples.csv")
    parts = [sheet.assign(sample=sheet["file"] + ".fcs", file=sheet["file"] + f"_{part}.fcs") for part in (1, 2)]
    pd.concat(parts).to_csv(tmp_path / "samples.csv", index=False)
    COMPARE.done(*arguments(study, tmp_path / "one", "--quiet"))
    COMPARE.done(*arguments(tmp_path, tmp_path / "two", "--quiet"))
    for name in TABLES:
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "one" / name), pd.read_csv(tmp_path / "two" / name))


@pytest.mark.usefixtures("no_matplotlib")
def test_without_matplotlib_there_are_tables_only(study: Path, tmp_path: Path) -> None:
    assert "matplotlib is not installed" in COMPARE.done(*arguments(study, tmp_path / "out")).stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [*TABLES, "summary.json"]


def test_described_groups_may_be_small(study: Path, tmp_path: Path) -> None:
    sheet = pd.read_csv(study / "samples.csv")
    sheet["condition"] = ["ctrl"] * 7 + ["stim"]
    sheet.to_csv(study / "small.csv", index=False)
    message = COMPARE.refused(InputError, *arguments(study, tmp_path / "out", sheet="small.csv"))
    assert "'stim' has 1" in message
    assert not (tmp_path / "out").exists()
    COMPARE.done(*arguments(study, tmp_path / "out", "--describe", sheet="small.csv"))
    found = pd.read_csv(tmp_path / "out" / TABLES[2])
    assert found["p"].isna().all()
    assert found["effect"].notna().all()


def test_a_confounded_batch_ends_with_code_3(study: Path, tmp_path: Path) -> None:
    sheet = pd.read_csv(study / "samples.csv")
    sheet["batch"] = sheet["condition"]
    sheet.to_csv(study / "confounded.csv", index=False)
    message = COMPARE.refused(
        InputError, *arguments(study, tmp_path / "out", "--batch", "batch", sheet="confounded.csv")
    )
    assert "column batch: found values that are confounded with condition" in message
    assert InputError.exit_code == 3


def test_a_sample_that_is_missing_from_the_sheet_is_refused(study: Path, tmp_path: Path) -> None:
    sheet = pd.read_csv(study / "samples.csv")
    sheet.iloc[1:].to_csv(study / "short.csv", index=False)
    assert "no row for s0.fcs" in COMPARE.refused(InputError, *arguments(study, tmp_path / "out", sheet="short.csv"))


@pytest.mark.usefixtures("no_matplotlib")
def test_state_markers_are_compared_with_files_and_model(tmp_path: Path) -> None:
    rng, tables = np.random.default_rng(1), []
    source = open_fcs(ROOT / "tests" / "golden" / "cells.fcs")  # without state markers
    channels = (*source.channels, Channel(len(source.channels), "Sm154Di", "154Sm_pStat3", 1000.0))
    for number, name in enumerate(NAMES):
        cluster = rng.integers(1, 4, 300)
        raised = (cluster == 2) & (number >= 4)
        level = rng.gamma(5, np.where(raised, 20, 4))
        write_fcs(tmp_path / f"{name}.fcs", np.column_stack([source.read(stop=300), level]), channels)
        tables.append(pd.DataFrame({"file": f"{name}.fcs", "event": np.arange(300), "cluster": cluster}))
    pd.concat(tables).to_parquet(tmp_path / "cells.parquet")
    rows = [f"{name},{'ctrl' if number < 4 else 'stim'}" for number, name in enumerate(NAMES)]
    (tmp_path / "samples.csv").write_text("file,condition\n" + "\n".join(rows) + "\n")
    model = ROOT / "tests" / "golden" / "schema1" / "model"
    done = COMPARE.done(*arguments(tmp_path, tmp_path / "out", "--files", tmp_path, "--model", model))
    assert "pStat3 in cluster 2: +1." in done.stderr
    levels = pd.read_csv(tmp_path / "out" / "levels.csv")
    found = pd.read_csv(tmp_path / "out" / "differential_levels.csv")
    assert len(levels) == 8 * 3
    assert found["marker"].unique().tolist() == ["pStat3"]
    assert found["population"][found["fdr"] <= 0.05].tolist() == ["cluster 2"]
    assert found["effect"][1] == pytest.approx(np.log(5), abs=0.2)


def test_files_need_the_model(study: Path, tmp_path: Path) -> None:
    assert "belong together" in COMPARE.refused(UsageError, *arguments(study, tmp_path / "out", "--files", study))


@pytest.mark.usefixtures("no_matplotlib")
def test_an_existing_comparison_is_replaced_only_with_force(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    COMPARE.done(*arguments(study, out, "--quiet"))
    assert "--force" in COMPARE.refused(OutputError, *arguments(study, out))
    COMPARE.done(*arguments(study, out, "--quiet", "--force", "--reference", "stim"))
    assert json.loads((out / "summary.json").read_text())["reference"] == "stim"


def test_a_folder_with_other_files_is_never_replaced(study: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "thesis.txt" in COMPARE.refused(OutputError, *arguments(study, tmp_path, "--force"))
    assert (tmp_path / "thesis.txt").read_text() == "years of work"

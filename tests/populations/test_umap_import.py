"""umap without pynndescent, and all of it for whoever needs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# What umap takes from pynndescent; the real one compiles for half a minute on a new machine.
PACKAGE = {
    "__init__.py": "class NNDescent:\n    def __init__(self, *given, **named):\n        self.given = given, named\n",
    "distances.py": "named_distances = {'braycurtis': 1, 'euclidean': 2}\n",
    "sparse.py": "sparse_named_distances = {'cosine': 3}\n",
}
CODE = """
import sys
from cytovae.populations.umap_import import import_umap

umap = import_umap()
assert not isinstance("cells", umap.umap_.NNDescent)
assert not {name for name in sys.modules if name.startswith("pynndescent")}

index = umap.umap_.NNDescent("cells", n_neighbors=5)  # what the search for neighbors in umap calls
import pynndescent, pynndescent.sparse
assert index.given == (("cells",), {"n_neighbors": 5})
assert type(index) is pynndescent.NNDescent
assert isinstance(index, umap.umap_.NNDescent)
assert "braycurtis" in umap.umap_.pynn_named_distances
assert dict(umap.umap_.pynn_named_distances) == {"braycurtis": 1, "euclidean": 2}
assert dict(umap.umap_.pynn_sparse_named_distances) == pynndescent.sparse.sparse_named_distances
assert import_umap() is umap
"""


def run(code: str, path: Path) -> None:
    call = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(call, env=os.environ | {"PYTHONPATH": str(path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_pynndescent_is_imported_when_it_is_needed(tmp_path: Path) -> None:
    (tmp_path / "pynndescent").mkdir()
    for name, text in PACKAGE.items():
        (tmp_path / "pynndescent" / name).write_text(text)
    run(CODE, tmp_path)


def test_umap_of_given_neighbors_does_without_it(tmp_path: Path) -> None:
    (tmp_path / "pynndescent.py").write_text("raise SystemExit('imported')")
    run(
        """
import numpy as np
from cytovae.populations.neighbors import nearest_neighbors
from cytovae.populations.umap_projection import umap_projection
from cytovae.settings import Settings

cells = np.random.default_rng(0).normal(size=(100, 3)).astype("f4")
umap_projection(cells, nearest_neighbors(cells, 15, "euclidean"), Settings(umap_epochs=2), 0)
""",
        tmp_path,
    )


def test_other_versions_of_umap_are_imported_as_usual(tmp_path: Path) -> None:
    for package, text in {"pynndescent": "new = 1\n", "umap": "from pynndescent import new\n"}.items():
        (tmp_path / f"{package}.py").write_text(text)
    code = "from cytovae.populations.umap_import import import_umap\nassert import_umap().new == 1\n"
    run(code, tmp_path)

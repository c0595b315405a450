"""One thread of torch in every test: threads that wait for each other make small tests many times slower."""

import os
import sys
from collections.abc import Iterator

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded, here and in processes that tests start


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first, so that no long file is left for one process at the end."""
    n_slow: dict[str, int] = {}
    for item in items:
        path = item.nodeid.partition("::")[0]
        n_slow[path] = n_slow.get(path, 0) + (item.get_closest_marker("slow") is not None)
    soak = "tests/test_soak.py"  # few tests, but the longest
    items.sort(key=lambda item: (item.nodeid.partition("::")[0] != soak, -n_slow[item.nodeid.partition("::")[0]]))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Undo what the code under test sets for its process."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)

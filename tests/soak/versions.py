"""The tests of everything that touches pandas, with pandas 2.3 and with the one that is installed."""

import os
import re
import site
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

from rows import ROOT, Effort, Row

OLDER = ("pandas>=2.3,<2.4", "pytz")  # which pandas 3 no longer needs
TESTS = (
    *("test_outputs.py", "test_outputs_tables.py", "test_outputs_h5ad.py", "test_labels.py", "test_gates.py"),
    *("test_benchmark_tables.py", "test_modelfile.py", "test_cli_assign_formats.py", "test_cli_score.py"),
)


def pandas(folder: Path, effort: Effort) -> list[Row]:
    """An environment over this one's packages, with only pandas another."""
    if effort.quick:
        return [Row("pandas 2.3", 0, "not tried in a quick run")]
    place = folder / "venv"
    venv.create(place, with_pip=False)
    (own,) = place.glob("lib/python*/site-packages")
    python = str(place / "bin" / "python")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(own), *OLDER]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return [Row("pandas 2.3", 0, f"not tried: it cannot be installed here ({done.stderr.strip()[-80:]})")]
    packages = [path for path in site.getsitepackages() if Path(path).is_dir()]
    (own / "packages.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in packages))
    rows = []
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    for interpreter in (python, sys.executable):
        asked = [interpreter, "-c", "import pandas; print(pandas.__version__)"]
        version = subprocess.run(asked, capture_output=True, text=True, check=True, env=environment).stdout.strip()
        tests = [str(ROOT / "tests" / name) for name in TESTS]
        run = subprocess.run(
            [interpreter, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
            capture_output=True, text=True, check=False, cwd=ROOT, env=environment,
        )  # fmt: skip
        last = run.stdout.strip().splitlines()[-1] if run.stdout.strip() else run.stderr[-200:]
        passed = re.search(r"(\d+) passed", last)
        failures = () if run.returncode == 0 else (last, *re.findall(r"^FAILED .*", run.stdout, re.MULTILINE)[:5])
        n_passed = int(passed[1]) if passed else 0
        happened = f"{n_passed} tests passed (numpy {metadata.version('numpy')})"
        rows.append(Row(f"pandas {version}: tests of tables, labels and models", n_passed, happened, tuple(failures)))
    return rows

"""All tests that use pandas, with pandas 2.3 and with the installed version."""

import os
import re
import site
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

from rows import ROOT, Effort, Row

OLDER = ("pandas>=2.3,<2.4", "pytz")  # pandas 3 does not need pytz
TESTS = (
    *("outputs", "annotations", "benchmark/test_tables.py", "model_folder/test_save.py", "model_folder/test_load.py"),
    *("cli/test_assign_formats.py", "cli/test_score.py"),
)


def pandas(folder: Path, effort: Effort) -> list[Row]:
    """Create an environment with the packages of this one but another pandas, and run the tests in both."""
    if effort.quick:
        return [Row("pandas 2.3", 0, "not tried in a quick run")]
    environment_folder = folder / "venv"
    venv.create(environment_folder, with_pip=False)
    (site_packages,) = environment_folder.glob("lib/python*/site-packages")
    python = str(environment_folder / "bin" / "python")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site_packages), *OLDER]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return [Row("pandas 2.3", 0, f"not tried: it cannot be installed here ({done.stderr.strip()[-80:]})")]
    packages = [path for path in site.getsitepackages() if Path(path).is_dir()]
    (site_packages / "packages.pth").write_text(
        "".join(f"import site; site.addsitedir({path!r})\n" for path in packages)
    )
    rows = []
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    for interpreter in (python, sys.executable):
        program = [interpreter, "-c", "import pandas; print(pandas.__version__)"]
        version = subprocess.run(program, capture_output=True, text=True, check=True, env=environment).stdout.strip()
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

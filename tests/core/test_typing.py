from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.processes
def test_decorators_change_no_type() -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")

    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "tests/typing/api.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    # Of the modules it imports, others' errors are not this test's business.
    assert [line for line in checked.stdout.splitlines() if line.startswith("tests/typing/")] == []
    assert checked.returncode in (0, 1), checked.stderr

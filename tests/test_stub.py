"""The stub knows the public interface: it is as its script writes it, and mypy reads it."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "docs" / "stub.py"
PROGRAM = """import numpy as np
import napari_tessera as tessera
labels: np.ndarray = tessera.watershed(np.zeros((8, 8)), min_distance=3)
"""


@pytest.fixture
def mypy(tmp_path, tmp_path_factory):
    def run(line: str) -> str:
        (tmp_path / "program.py").write_text(PROGRAM + line, encoding="utf-8")
        options = ["--ignore-missing-imports", "--cache-dir", str(tmp_path_factory.getbasetemp() / "mypy")]
        command = [sys.executable, "-m", "mypy", *options, "program.py"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout

    return run


def test_stub_is_as_its_script_writes_it():
    written = (ROOT / "src" / "napari_tessera" / "__init__.pyi").read_text(encoding="utf-8")
    assert written == runpy.run_path(str(SCRIPT))["stub"](), f"run python {SCRIPT.relative_to(ROOT)}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tessera.compare(labels, labels).table['state']", "Success"),
        ("tessera.segment('watershed', labels, blocks=64, min_distance=3).labels.max()", "Success"),
        ("tessera.watershed(labels, min_distanze=3)", 'Unexpected keyword argument "min_distanze"'),
        ("tessera.watershed(labels, foreground='lokal')", "incompatible type \"Literal['lokal']\""),
        ("tessera.watershet(labels)", 'Module has no attribute "watershet"'),
    ],
)
def test_mypy_knows_the_functions(mypy, line, message):
    assert message in mypy(line)

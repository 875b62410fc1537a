"""What a fresh process loads: no torch, and nothing of napari where no window is asked for."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ("torch", "napari", "qtpy", "magicgui", "skimage", "numba", "dask", "zarr", "pandas")


def _loaded_by(code: str) -> set[str]:
    """Run `code` in a fresh process and return those of the heavy packages that it loaded."""
    report = f"\nimport json, sys\nprint(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_loads_nothing_heavy():
    assert _loaded_by("import napari_tessera; dir(napari_tessera)") == set()


def test_help_loads_nothing_heavy():
    assert _loaded_by("from napari_tessera.cli.main import main; main(['--help'])") == set()


def test_listing_the_methods_loads_nothing_heavy():
    assert _loaded_by("from napari_tessera.cli.main import main; main(['methods'])") == set()


def test_help_of_a_method_loads_neither_torch_nor_napari():
    loaded = _loaded_by("from napari_tessera.cli.main import main; assert main(['watershed', '--help']) == 0")
    assert not loaded & {"torch", "napari", "qtpy", "magicgui"}


def test_segmenting_in_python_loads_neither_torch_nor_napari():
    code = "import numpy as np, napari_tessera as tessera; tessera.segment('threshold', np.eye(9))"
    assert not _loaded_by(code) & {"torch", "napari", "qtpy", "magicgui"}


def test_opening_a_widget_loads_no_torch():
    code = """
import os
os.environ["QT_QPA_PLATFORM"] = "offscreen"
from qtpy.QtWidgets import QApplication
app = QApplication([])
from napari.components import ViewerModel
from napari_tessera.gui.widgets import WatershedWidget
widget = WatershedWidget(ViewerModel())
widget.shut_down()
"""
    assert not _loaded_by(code) & {"torch"}

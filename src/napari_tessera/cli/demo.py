"""`tessera demo`: segment a sample image, in a window or as files with a picture of the labels over the image."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.cli.terminal import Parser, say
from napari_tessera.core.atomic_writes import written_together
from napari_tessera.core.jobs import run_job
from napari_tessera.core.result import Result
from napari_tessera.io.write import write_result
from napari_tessera.sample_data import Sample, sample_named


def draw_overlay(image: np.ndarray, labels: np.ndarray, *, opacity: float = 0.35) -> np.ndarray:
    """Tint each object of a (Y, X) or (Y, X, 3) image in its own colour, and draw its outline; uint8 RGB.

    Examples
    --------
    >>> import numpy as np
    >>> draw_overlay(np.eye(4), np.array([[1, 1, 0, 0]] * 4)).shape
    (4, 4, 3)
    """
    from skimage.color import label2rgb
    from skimage.segmentation import find_boundaries

    picture = label2rgb(labels, _as_colour(image), alpha=opacity, bg_label=0, bg_color=None, saturation=1)
    edge = find_boundaries(labels, mode="inner")
    picture[edge] = label2rgb(labels, bg_label=0)[edge]
    return np.rint(picture * 255).astype(np.uint8)


def _as_colour(image: np.ndarray) -> np.ndarray:
    """Return (Y, X, 3) float32 from 0 to 1."""
    if image.ndim == 3 and image.dtype == np.uint8:
        return image[..., :3].astype(np.float32) / 255
    grey = image.astype(np.float32)
    low, high = np.percentile(grey, (0.5, 99.5))
    stretched = np.clip((grey - low) / max(high - low, 1e-9), 0, 1)
    return stretched if image.ndim == 3 else np.repeat(stretched[..., None], 3, axis=2)


def main(argv: list[str]) -> int:
    """Show a result on a real image, in a window or, if none can open, as files; return the exit code."""
    parser = Parser(
        prog="tessera demo",
        description="Open napari on a real image with a result and the widget beside it. Nothing is downloaded.",
    )
    parser.add_argument(
        "--headless",
        type=Path,
        metavar="DIR",
        help="open no window: write labels and a picture to DIR, print the counts",
    )
    folder = parser.parse_args(argv).headless
    if folder is None and (reason := why_no_window()) is None:
        try:
            from napari_tessera.gui.method.widget import open_demo
        except RuntimeError as error:  # napari compiles too, and does not start if it cannot write its cache
            reason = f"napari does not start: {error}; set NUMBA_CACHE_DIR to a folder that can be written to"
        else:
            open_demo(IMAGE, METHOD, SETTINGS)
            return 0
    if folder is None:
        folder = FOLDER
        say(f"No window can be opened ({reason}); writing files to {folder} instead.")
    write_demo(folder)
    return 0


IMAGE, METHOD = "haematoxylin", "unet"
SETTINGS = {"diameter": 18.0}
"""Nuclei of a tissue section, by the shipped network. Their shapes and sizes vary, so the usual size is given."""
QT_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
FOLDER = Path("tessera-demo")


def why_no_window() -> str | None:
    """Return why no window can open here, or None if one can."""
    if os.environ.get("QT_QPA_PLATFORM") in ("offscreen", "minimal", "minimalegl", "vnc"):
        return f"QT_QPA_PLATFORM is {os.environ['QT_QPA_PLATFORM']}"
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display"
    if not any(find_spec(binding) for binding in QT_BINDINGS):
        return 'no Qt is installed; pip install "napari[all]" brings it'
    return None if _qt_starts() else "Qt cannot start here"


def _qt_starts() -> bool:
    """Test Qt in another process, because it aborts the process without a display or a library."""
    program = "from qtpy.QtWidgets import QApplication; QApplication([])"
    try:
        tried = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return tried.returncode == 0


def write_demo(folder: Path) -> list[Path]:
    """Segment the image, write its labels, their record and table, and an overlay; print the counts."""
    from PIL import Image

    sample = sample_named(IMAGE)
    result = segment_sample(sample)
    paths = write_result(result, folder / f"{IMAGE}-labels.tif", overwrite=True)
    picture = folder / f"{IMAGE}-overlay.png"
    with written_together([picture], overwrite=True) as (part,):
        Image.fromarray(draw_overlay(sample.image, result.labels)).save(part)
    shape = " × ".join(map(str, sample.image.shape))
    print(f"{METHOD} on {IMAGE} ({shape}): {int(result.labels.max())} objects")
    for path in (*paths, picture):
        print(f"  {path}")
    return [*paths, picture]


def segment_sample(sample: Sample) -> Result:
    """Run the method with `SETTINGS`."""
    from napari_tessera.engine import api

    settings: dict[str, Any] = {"name": IMAGE, **SETTINGS}
    request = api.bind(METHOD, sample.image, axes=sample.axes, spatial=sample.spatial, **settings)
    return run_job(api.job(request))

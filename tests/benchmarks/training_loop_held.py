"""The row `train` of `bench_event_loop.py`: is the window live while a network learns, and somebody paints meanwhile?

Columns, in ms: ready = from the opened widget until what a training needs has been loaded, in a thread; quiet = while
somebody paints and nothing learns (napari's own drawing); start = from Train to the first step; add = napari takes the
layer of the live prediction and draws it for the first time; learn = while it learns; paint = while it learns and
somebody paints; looks = live predictions shown in that time; step = a step, on average; stop = from the end of the step
in which Stop was pressed until nothing is learnt any more, median and longest; saved = until the model is written.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QTimer

from napari_tessera.gui.train.widget import TrainWidget

NETWORKS = {"U-Net": "unet", "Mask R-CNN": "mask-rcnn"}
COLUMNS = ("ready", "quiet", "start", "add", "learn", "paint", "looks", "step", "stop", "longest", "saved")
AFTER_LEARNING = ("Estimating", "Writing")
SECONDS = 12.0
STOPS = 3
MOVES_EVERY_MS = 16
SIDE_PX = 1024


class Brush:
    """Paints a wave across a layer, a dab at a time, as the mouse does."""

    def __init__(self, layer: Labels) -> None:
        self.layer, self.at = layer, 0
        self.timer = QTimer()
        self.timer.timeout.connect(self.dab)

    def dab(self) -> None:
        """Paint one dab."""
        self.at += 4
        side = self.layer.data.shape[-1]
        self.layer.paint((side / 2 + side / 4 * np.sin(self.at / 60), self.at % side), 1 + self.at // side % 2)


def rows(viewer: napari.Viewer, ticks: object, wait: Callable[..., None], blobs: Callable[..., np.ndarray]) -> None:
    """Measure and print a row for each network."""
    print(f"\n{'training':16}{'side':>6}" + "".join(f"{column:>8}" for column in COLUMNS))
    for title, network in NETWORKS.items():
        with tempfile.TemporaryDirectory() as folder:
            for name in ("MODELS", "ANNOTATIONS"):
                os.environ[f"TESSERA_{name}"] = str(Path(folder) / name.lower())
            print(f"{title:16}{SIDE_PX:6}" + measure(viewer, ticks, wait, blobs(SIDE_PX), network), flush=True)


def measure(viewer: napari.Viewer, ticks, wait: Callable[..., None], image: np.ndarray, network: str) -> str:
    """Measure one network."""
    viewer.add_image(image, name="blobs", contrast_limits=(0, 65535))
    wait(2)
    _, widget = viewer.window.add_plugin_dock_widget("napari-tessera", "Train")
    wait(0.1)  # napari draws it
    start = time.perf_counter()
    wait(0.5)
    wait(120, lambda: widget.warm_up.is_over)
    ready = ticks.longest_gap_ms(start, time.perf_counter())
    set_up(widget, image, network)
    wait(2)
    brush = Brush(widget.pairs.first.paint)

    def held(seconds: float, until: Callable[[], bool] = lambda: False) -> float:
        wait(0.01)
        start = time.perf_counter()
        wait(seconds, until)
        return ticks.longest_gap_ms(start, time.perf_counter())

    brush.timer.start(MOVES_EVERY_MS)
    quiet = held(SECONDS / 2)
    brush.timer.stop()
    widget.bar.run_button.click()
    load = held(120, lambda: bool(widget.history.losses))
    if not widget.history.losses:
        raise SystemExit(widget.bar.message.text() + "\n" + widget.bar._details)
    add = held(120, lambda: widget.live.layer is not None)
    wait(1)
    learn = held(SECONDS)
    brush.timer.start(MOVES_EVERY_MS)
    shown = count_looks(widget)
    paint = held(SECONDS)
    brush.timer.stop()
    first, last = widget.history._began, widget.history._last
    step = 1000 * (last[0] - first[0]) / max(1, last[1] - first[1])
    stops = [stop(widget, wait) for _ in range(STOPS)]
    viewer.window.remove_dock_widget(widget)
    viewer.layers.clear()
    ends, saved = zip(*stops, strict=True)
    medians = (statistics.median(ends), max(ends), statistics.median(saved))
    numbers = (ready, quiet, load, add, learn, paint, len(shown), step, *medians)
    return "".join(f"{each:8.0f}" for each in numbers)


def set_up(widget: TrainWidget, image: np.ndarray, network: str) -> None:
    """Paint a part of the image, and set the form."""
    widget.form.restore_defaults()
    is_unet = network == "unet"
    widget.form.values = {"network": network, "task": "classes" if is_unet else "objects", "steps": 1_000_000}
    widget.pairs.first.new_button.click()
    paint = widget.pairs.first.paint
    part = np.zeros_like(paint.data)
    here = image[:300, :300] > 12_000
    if is_unet:
        part[:300, :300] = 1 + here
    else:
        from scipy import ndimage

        numbered, _ = ndimage.label(here)
        part[:300, :300] = np.where(here, numbered + 1, 1)
    paint.data = part


def count_looks(widget: TrainWidget) -> list[object]:
    """Note from now on each live prediction that is shown."""
    shown: list[object] = []
    show = widget.live.show
    widget.live.show = lambda seen: (shown.append(seen), show(seen))
    return shown


def stop(widget: TrainWidget, wait: Callable[..., None]) -> tuple[float, float]:
    """Press Stop; return the ms from the end of the step until nothing is learnt, and until the model is written."""
    if not widget.runner.is_running:
        widget.bar.go_on_button.click()
    wait(120, widget.bar.stop_button.isEnabled)
    wait(1.5)
    out: Path = widget.request.out
    before = out.stat().st_mtime_ns if out.exists() else 0
    widget.bar.stop_button.click()
    pressed = time.monotonic()
    wait(120, lambda: widget.history.text.startswith(AFTER_LEARNING))
    learnt = time.monotonic()
    ended = max(pressed, widget.history._last[0])
    wait(120, lambda: out.exists() and out.stat().st_mtime_ns != before)
    written = time.monotonic()
    wait(120, widget.bar.run_button.isEnabled)
    return 1000 * (learnt - ended), 1000 * (written - ended)

"""Is the window live while a widget works? `python tests/benchmarks/bench_event_loop.py [METHOD...] [--size 4096]`.

Opens a real napari viewer (under Xvfb: `xvfb-run -a -s "-screen 0 1280x800x24" python …`), adds a 16-bit image of
touching blobs, opens each widget, presses Run twice and then Run and Cancel. A timer that ticks every 5 ms notes the
longest time between two ticks: that long the event loop was held.

A process loads libraries once, for all methods: `bench_event_loop.py unet` alone tells what loading torch costs, and
with `--at-once` what it costs who presses Run as soon as the widget is open, before anything could be prepared.

Columns, in ms: ready = from the opened widget until what a run needs has been loaded, in a thread; idle = nothing runs;
first, second = from Run to the result; add = napari takes the new layer and draws
it for the first time (its own work, software rendering under Xvfb); cancel = from the click on Cancel to the end of the
thread, the median and the longest of several, at different times into the run. The row `train` has columns of its
own: see `training_loop_held.py`.
"""

from __future__ import annotations

import argparse
import faulthandler
import statistics
import sys
import threading
import time
from collections.abc import Callable

import napari
import numpy as np
import training_loop_held
from qtpy.QtCore import QEventLoop, Qt, QTimer
from scipy import ndimage

from napari_tessera.gui.docked import Docked
from napari_tessera.methods.registry import METHODS

LARGEST_PX = {"unet": 1024, "mask_rcnn": 1024, "panoptic": 1024}
"""Side of the image where `--size` would take minutes a run."""
TICK_MS = 5
LATE_S = 0.1
CANCELS = 5
TRAIN = "train"
LOADING = ("tessera warm-up", "tessera torch")
"""Threads that load what a run needs."""


class Ticks:
    """Notes when a timer of the event loop fired."""

    def __init__(self) -> None:
        self.times: list[float] = [time.perf_counter()]
        self.says_where = False
        self.timer = QTimer()
        self.timer.setTimerType(Qt.TimerType.PreciseTimer)
        self.timer.timeout.connect(self.tick)
        self.timer.start(TICK_MS)

    def tick(self) -> None:
        """Note the time; print the stack of every thread if the next tick is late."""
        self.times.append(time.perf_counter())
        if self.says_where:
            late = self.times[-1] - self.times[-2]
            if late > LATE_S:
                print(f"↑ The tick came {1000 * late:.0f} ms after the one before.", file=sys.stderr, flush=True)
            faulthandler.dump_traceback_later(LATE_S)

    def longest_gap_ms(self, start: float, end: float) -> float:
        """Longest time between two ticks, of which some lies between `start` and `end`."""
        pairs = zip(self.times, self.times[1:], strict=False)
        return max((1000 * (b - a) for a, b in pairs if b > start and a < end), default=0.0)


def wait(seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    """Let the event loop run for some time, or until something holds."""
    loop, poll, end = QEventLoop(), QTimer(), time.perf_counter() + seconds
    poll.timeout.connect(lambda: loop.quit() if until() or time.perf_counter() > end else None)
    poll.start(TICK_MS)
    loop.exec()


def blobs(size: int, count: int = 6000) -> np.ndarray:
    """Make touching bright blobs with noise, (size, size) uint16."""
    rng = np.random.default_rng(0)
    seeds = np.zeros((size, size), np.float32)
    y, x = rng.integers(0, size, (2, round(count * (size / 4096) ** 2)))
    seeds[y, x] = rng.uniform(0.6, 1.4, len(y))
    image = ndimage.gaussian_filter(seeds, 9) * 2 * np.pi * 81
    return (1000 + 20_000 * np.clip(image, 0, 2) + rng.normal(0, 300, image.shape)).clip(0, 65535).astype(np.uint16)


def prepare(viewer: napari.Viewer, method: str) -> Docked:
    """Open the widget of a method with the layers it needs; the image named "blobs" is there already."""
    chosen = add_inputs(viewer, method)
    wait(1)  # until napari has drawn them
    title = next(entry.title for entry in METHODS if entry.name == method)
    _, widget = viewer.window.add_plugin_dock_widget("napari-tessera", title)
    widget.restore_defaults()
    for name, layer in chosen.items():
        widget.inputs.boxes[name].layer = viewer.layers[layer]
    return widget


def add_inputs(viewer: napari.Viewer, method: str) -> dict[str, str]:
    """Add what a method needs beside the image; return which layer is which input."""
    image = viewer.layers["blobs"]
    if method == "region_growing":
        size = image.data.shape[0]
        points = np.random.default_rng(1).integers(0, size, (500, 2))
        viewer.add_points(points, name="seeds", visible=False)  # drawing them in software takes napari up to 0.3 s
        return {"image": "blobs", "seeds": "seeds"}
    if method not in ("refine", "compare"):
        return {"image": "blobs"}
    labels = ndimage.label(image.data > 12_000)[0].astype(np.int32)
    viewer.add_labels(labels, name="labels")
    if method == "refine":
        return {"labels": "labels"}
    viewer.add_labels(np.roll(labels, 3, axis=0), name="truth")
    return {"truth": "truth", "prediction": "labels"}


def get_ready(widget: Docked, ticks: Ticks) -> float:
    """Wait until what a run needs has been loaded; return the longest gap until then."""
    wait(TICK_MS / 1000)
    start = time.perf_counter()
    wait(2)
    wait(60, lambda: not any(thread.name in LOADING for thread in threading.enumerate()))
    return ticks.longest_gap_ms(start, time.perf_counter())


def run(widget: Docked, ticks: Ticks) -> tuple[float, float, float]:
    """Press Run; return the longest gaps while running and while the layer is added, and the seconds it took."""
    added: list[float] = []
    content = widget.whole()
    add = content.show_result
    content.show_result = lambda answer: (added.append(time.perf_counter()), add(answer))
    start = time.perf_counter()
    widget.bar.run_button.click()
    wait(300, lambda: widget.bar.run_button.isEnabled())
    wait(1)
    del content.show_result
    if not added:
        raise SystemExit(widget.bar.message.text() + "\n" + widget.bar._details)
    # The tick before the layer is added ends the run; what lies around it is napari's.
    running = [tick for tick in ticks.times if tick <= added[0]]
    gap = ticks.longest_gap_ms(start, running[-1])
    return gap, ticks.longest_gap_ms(added[0], added[0] + 1), added[0] - start


def cancel(widget: Docked, seconds: float) -> list[float]:
    """Press Run and, some time into it, Cancel; return the ms until the thread had ended."""
    found = []
    for number in range(CANCELS):
        widget.bar.run_button.click()
        wait(seconds * (number + 0.5) / CANCELS)
        start = time.perf_counter()
        widget.bar.cancel_button.click()
        wait(30, lambda: not widget.runner.is_running)
        found.append(1000 * (time.perf_counter() - start))
        wait(0.3)
    return found


def main() -> None:
    """Print one row per widget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=[*(method.name for method in METHODS), TRAIN])
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--at-once", action="store_true", help="press Run as soon as the widget is open")
    parser.add_argument("--where", action="store_true", help="print where every thread is when a tick is late")
    arguments = parser.parse_args()
    viewer = napari.Viewer()
    ticks = Ticks()
    wait(2)
    ticks.says_where = arguments.where
    methods = [each for each in arguments.methods if each != TRAIN]
    print("uint16; longest time the event loop was held, ms")
    columns = ("ready", "idle", "first", "second", "add", "cancel", "worst", "run, s")
    print(f"{'method':16}{'side':>6}" + "".join(f"{column:>8}" for column in columns))
    for method in methods:
        side = min(arguments.size, LARGEST_PX.get(method, arguments.size))
        print(f"{method:16}{side:6}" + measure(viewer, ticks, method, side, arguments.at_once), flush=True)
    if TRAIN in arguments.methods:
        training_loop_held.rows(viewer, ticks, wait, blobs)
    viewer.close()


def measure(viewer: napari.Viewer, ticks: Ticks, method: str, side: int, at_once: bool) -> str:
    """Measure one method; return its row."""
    viewer.add_image(blobs(side), name="blobs", contrast_limits=(0, 65535))
    wait(1)
    widget = prepare(viewer, method)
    ready = 0.0 if at_once else get_ready(widget, ticks)
    wait(TICK_MS / 1000)
    start = time.perf_counter()
    wait(0 if at_once else 1)
    idle = ticks.longest_gap_ms(start, time.perf_counter())
    first, _, _ = run(widget, ticks)
    second, add, seconds = run(widget, ticks)
    ends = cancel(widget, seconds)
    viewer.window.remove_dock_widget(widget)
    viewer.layers.clear()
    milliseconds = (ready, idle, first, second, add, statistics.median(ends), max(ends))
    return "".join(f"{each:8.0f}" for each in milliseconds) + f"{seconds:8.1f}"


if __name__ == "__main__":
    main()

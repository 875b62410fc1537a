"""From a changed setting to the preview on the screen: `python tests/benchmarks/bench_preview.py [METHOD...]`.

Opens a real napari viewer (under Xvfb: `xvfb-run -a -s "-screen 0 1280x800x24" python …`) on a 4096×4096 16-bit image
of touching blobs, switches the live preview on and turns one setting many times, once with the whole plane in sight and
once zoomed in. Printed in ms, median and worst: set = until the preview layer has its new data, drawn = until the
canvas has been painted with it (software rendering under Xvfb), typing = the longest time the event loop was held
meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import time

import napari
from bench_event_loop import Ticks, blobs, wait
from qtpy.QtWidgets import QApplication

from napari_tessera.gui.layers.read import camera_of
from napari_tessera.gui.method.widget import MethodWidget
from napari_tessera.methods.registry import METHODS

SETTINGS = {"threshold": "sigma", "kmeans": "sigma", "watershed": "min_distance"}
CHANGES = 30


def open_preview(viewer: napari.Viewer, method: str) -> MethodWidget:
    """Open a widget and wait for its first preview."""
    title = next(entry.title for entry in METHODS if entry.name == method)
    _, widget = viewer.window.add_plugin_dock_widget("napari-tessera", title)
    widget.restore_defaults()
    wait(2)
    widget.preview_switch.value = True
    wait(60, lambda: widget.preview.layer is not None)
    wait(2)
    return widget


def turn(widget: MethodWidget, name: str, value: float) -> tuple[float, float]:
    """Change a setting; return the ms until the preview's data was set, and until it was drawn."""
    layer = widget.preview.layer
    assert layer is not None
    done: list[float] = []

    def note(_: object = None) -> None:
        done.append(time.perf_counter())

    layer.events.data.connect(note)
    start = time.perf_counter()
    widget.form.fields[name].value = value
    wait(10, lambda: bool(done))
    layer.events.data.disconnect(note)
    # Qt paints before it goes idle, and a timer of 0 ms fires only when it is idle.
    QApplication.processEvents()
    wait(0)
    return 1000 * (done[0] - start), 1000 * (time.perf_counter() - start)


def measure(widget: MethodWidget, ticks: Ticks, what: str) -> None:
    """Turn the setting many times and print a row."""
    method = widget.method.name
    name = SETTINGS[method]
    field = widget.form.fields[name]
    began = time.perf_counter()
    values = [3 + number % 7 if field.parameter.kind is int else 0.5 + 0.25 * (number % 7) for number in range(CHANGES)]
    times = []
    for value in values:
        times.append(turn(widget, name, value))
        wait(0.1)
    held = ticks.longest_gap_ms(began, time.perf_counter())
    set_ms, drawn_ms = ([pair[column] for pair in times] for column in (0, 1))
    columns = [statistics.median(set_ms), max(set_ms), statistics.median(drawn_ms), max(drawn_ms), held]
    layer = widget.preview.layer
    shape = "×".join(map(str, layer.data.shape)) if layer is not None else "-"
    print(f"{method:10} {name:13} {what:10} {shape:>9}" + "".join(f"{value:9.0f}" for value in columns), flush=True)


def main() -> None:
    """Print two rows per method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=list(SETTINGS))
    viewer = napari.Viewer()
    viewer.add_image(blobs(4096), name="blobs", contrast_limits=(0, 65535))
    ticks = Ticks(says_where=False)
    wait(2)
    print(f"{'':45} {'set':>8}{'worst':>9}{'drawn':>9}{'worst':>9}{'typing':>9}")
    for method in parser.parse_args().methods:
        widget = open_preview(viewer, method)
        measure(widget, ticks, "all")
        camera = camera_of(viewer)
        far = camera.zoom
        camera.zoom = 1.0
        wait(2)
        measure(widget, ticks, "zoomed in")
        camera.zoom = far
        viewer.window.remove_dock_widget(widget)
        wait(1)
    viewer.close()


if __name__ == "__main__":
    main()

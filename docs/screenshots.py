"""Take a picture of every widget in the real napari, after a run: `python docs/screenshots.py [FOLDER [NAME...]]`.

Without a display: `xvfb-run -a -s "-screen 0 1280x800x24" python docs/screenshots.py`. The pictures of the
documentation are made this way, so that they always show the program as it is.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import first_model_pictures
import napari
import numpy as np
from qtpy.QtWidgets import QApplication

from napari_tessera.cli.demo import IMAGE, METHOD, SETTINGS
from napari_tessera.gui.form import form as settings
from napari_tessera.gui.method.widget import MethodWidget, open_demo
from napari_tessera.methods.registry import METHODS

SIZE_PX = (1280, 800)
DEMO, TRAIN, START, CORRECT, POINT = "demo", "train", "start_here", "correct", "point"
POINTED_AT = 8
"""Objects in the picture of Point."""
SAMPLES = {
    "threshold": "coins",
    "region_growing": "coins",
    "watershed": "nuclei_2d",
    "kmeans": "immunohistochemistry",
    "superpixels": "immunohistochemistry",
    "unet": "haematoxylin",
    "mask_rcnn": "haematoxylin",
    "panoptic": "haematoxylin",
    "refine": "nuclei_2d",
    "compare": "nuclei_2d",
}


def wait(seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    """Let napari work for some time, or until something holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        QApplication.processEvents()
        time.sleep(0.005)


def finish(widget: MethodWidget) -> None:
    """Press Run and wait for the result."""
    widget.bar.run_button.click()
    wait(120, widget.bar.run_button.isEnabled)
    wait(1)


def open_widget(viewer: napari.Viewer, name: str) -> MethodWidget:
    """Open the widget of a method."""
    title = next(method.title for method in METHODS if method.name == name)
    _, widget = viewer.window.add_plugin_dock_widget("napari-tessera", title)
    return widget


def set_up(viewer: napari.Viewer, name: str) -> MethodWidget:
    """Open the sample and the widget of a method, with the layers and settings that its picture shows."""
    viewer.open_sample("napari-tessera", SAMPLES[name])
    image = viewer.layers[0]
    viewer.layers.selection.active = image
    if name == "region_growing":
        seeds = [
            [88, 75],
            [54, 45],
            [55, 101],
            [51, 155],
            [51, 216],
            [52, 276],
            [43, 335],
            [123, 46],
            [123, 103],
            [122, 154],
        ]
        viewer.add_points(np.array(seeds) * image.scale, size=6 * image.scale[0], units=image.units, name="seeds")
    if name in ("refine", "compare"):
        watershed = open_widget(viewer, "watershed")
        finish(watershed)
        viewer.window.remove_dock_widget(watershed)
    widget = open_widget(viewer, name)
    if name == "region_growing":
        widget.form.fields["criterion"].value = "competing"
        widget.form.fields["background"].value = 1
    if name == "panoptic":
        widget.form.fields["stuff_from"].value = "kmeans"
    if name in ("unet", "mask_rcnn", "panoptic"):
        widget.form.fields["diameter"].value = SETTINGS["diameter"]
        wait(60, lambda: "of memory" in widget.forecast.text())
    if name == "threshold":
        widget.form.fields["output"].value = "objects"
        widget.form.fields["min_size"].value = 100
        widget.form.fields["sigma"].value = 1.0
    if name == "superpixels":
        widget.form.fields["merge"].value = True
    if name == "compare":
        widget.inputs.boxes["truth"].layer = next(layer for layer in viewer.layers if "truth" in layer.name)
    return widget


def point_at_largest(viewer: napari.Viewer) -> None:
    """Move napari's cursor to the largest thing of the active layer, so that the status bar tells of it."""
    layer = viewer.layers.selection.active
    things = layer.features[layer.features["class"] == "nucleus"]
    largest = things.loc[things["num_pixels"].idxmax()]
    corners = [[largest[f"bbox-{end + axis} (px)"] for axis in range(2)] for end in (0, 2)]
    viewer.cursor.position = layer.data_to_world(np.mean(corners, axis=0))


def take(viewer: napari.Viewer, path: Path) -> None:
    """Write a picture of the whole window."""
    viewer.window.resize(*SIZE_PX)
    wait(1)
    viewer.fit_to_view()
    wait(1)
    viewer.window.screenshot(str(path), canvas_only=False, flash=False)
    print(path)


def picture(name: str, folder: Path) -> None:
    """Take the picture of one method's widget."""
    viewer = napari.Viewer()
    viewer.window.resize(*SIZE_PX)
    widget = set_up(viewer, name)
    finish(widget)
    if name == "mask_rcnn":
        widget.boxes.click()
        wait(30, lambda: widget.boxes.boxes is not None)
    if name in ("mask_rcnn", "panoptic"):
        point_at_largest(viewer)
    for layer in viewer.layers[1:-1]:
        layer.visible = layer.name == "seeds" or name in ("mask_rcnn", "panoptic")
    if name == "watershed":
        widget.more_settings.open()
    take(viewer, folder / f"{name}.png")
    viewer.close()


def picture_of_start(folder: Path) -> None:
    """Take the picture of "Start here…", after it has tried every method."""
    viewer = napari.Viewer()
    viewer.window.resize(*SIZE_PX)
    viewer.open_sample("napari-tessera", SAMPLES["watershed"])
    viewer.layers.selection.active = viewer.layers[0]
    _, widget = viewer.window.add_plugin_dock_widget("napari-tessera", "Start here…")
    viewer.fit_to_view()
    wait(240, lambda: all(card.result is not None for card in widget.cards))
    take(viewer, folder / f"{START}.png")
    viewer.close()


def picture_of_correct(folder: Path) -> None:
    """Take the picture of Correct labels, with the line that is about to cut an object."""
    viewer = napari.Viewer()
    viewer.window.resize(*SIZE_PX)
    viewer.open_sample("napari-tessera", "nuclei_2d")
    labels = viewer.layers[-1]
    labels.visible = True
    viewer.layers.selection.active = labels
    _, widget = viewer.window.add_plugin_dock_widget("napari-tessera", "Correct labels")
    widget.buttons["delete"].click()
    widget.buttons["split"].click()
    widget.objects.open()
    wait(10, lambda: widget.walk.model.rowCount() > 0)
    widget.walk.sort.setCurrentIndex(1)
    for button in (widget.walk.next_button, *[widget.walk.check_button] * 3):
        button.click()
        wait(1)
    viewer.window.resize(*SIZE_PX)
    viewer.fit_to_view()
    wait(2)
    y, x = np.argwhere(labels.data == np.bincount(labels.data.ravel())[1:].argmax() + 1).mean(axis=0)
    ends = [labels.data_to_world((y + across, x + across / 4))[::-1] for across in (-16, 16)]
    scene = viewer.window._qt_viewer.canvas.view.scene
    widget.line.show_line([scene.transform.map((*end, 0, 1))[:2] for end in ends])
    viewer.window.screenshot(str(folder / f"{CORRECT}.png"), canvas_only=False, flash=False)
    viewer.close()


def picture_of_point(folder: Path) -> None:
    """Take the picture of Point: some objects are accepted, and one was clicked on."""
    viewer = napari.Viewer()
    viewer.window.resize(*SIZE_PX)
    viewer.open_sample("napari-tessera", "nuclei_2d")
    image, truth = viewer.layers
    _, widget = viewer.window.add_plugin_dock_widget("napari-tessera", "Point")
    viewer.layers.selection.active = image
    widget.point_button.click()
    wait(60, lambda: not widget.pointing.is_loading)
    numbers = np.unique(truth.data)[1:]
    middles = {number: np.argwhere(truth.data == number).mean(axis=0) for number in numbers}
    inside = [number for number, middle in middles.items() if (np.abs(middle / truth.data.shape - 0.5) < 0.4).all()]
    for number in inside[:POINTED_AT]:
        widget.on_click(image.data_to_world(middles[number]), False)
        wait(10, lambda: not widget.is_busy)
        if number != inside[POINTED_AT - 1]:
            widget.accept()
            wait(10, lambda: not widget.is_busy)
    take(viewer, folder / f"{POINT}.png")
    viewer.close()


def main() -> None:
    """Take every picture."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as kept:
        settings.settings_path = lambda: Path(kept) / "settings.json"
        chosen = sys.argv[2:] or [START, *SAMPLES, CORRECT, POINT, TRAIN, DEMO]
        if START in chosen:
            picture_of_start(folder)
        if CORRECT in chosen:
            picture_of_correct(folder)
        if POINT in chosen:
            picture_of_point(folder)
        for name in chosen:
            if name in SAMPLES:
                picture(name, folder)
        if TRAIN in chosen:
            first_model_pictures.take_all(folder, Path(kept), take, wait)
        if DEMO in chosen:
            viewer = open_demo(IMAGE, METHOD, SETTINGS, block=False)
            wait(120, lambda: len(viewer.layers) > 1)
            take(viewer, folder / f"{DEMO}.png")
            viewer.close()


if __name__ == "__main__":
    main()

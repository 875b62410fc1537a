"""The pictures of the tutorial "Your first model in five minutes", taken while it is followed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from scipy import ndimage
from skimage.color import rgb2hed

CLASSES = ("background", "brown stain", "nucleus")
STROKES = 14
"""Strokes of each class."""
LENGTH_PX, WIDTH_PX = 22, 5
STEPS = 200


def strokes(image: np.ndarray) -> np.ndarray:
    """Paint short strokes where the colour leaves no doubt, uint8 (Y, X)."""
    haematoxylin, _, brown = (ndimage.gaussian_filter(each, 2) for each in np.moveaxis(rgb2hed(image), -1, 0))
    is_brown = brown > np.percentile(brown, 85)
    is_nucleus = (haematoxylin > np.percentile(haematoxylin, 88)) & (brown < np.percentile(brown, 60))
    is_pale = (haematoxylin < np.percentile(haematoxylin, 45)) & (brown < np.percentile(brown, 60))
    paint = np.zeros(image.shape[:2], np.uint8)
    rng = np.random.default_rng(0)
    for number, where in enumerate((is_pale, is_brown, is_nucleus), start=1):
        inside = np.argwhere(ndimage.binary_erosion(where, iterations=3))
        for y, x in inside[rng.permutation(len(inside))[:STROKES]]:
            stroke = np.zeros(paint.shape, bool)
            along = np.linspace(-LENGTH_PX / 2, LENGTH_PX / 2, LENGTH_PX)
            turn = rng.uniform(0, np.pi)
            at = np.rint([y + along * np.sin(turn), x + along * np.cos(turn)]).astype(int)
            stroke[tuple(np.clip(at, 0, np.array(paint.shape)[:, None] - 1))] = True
            paint[ndimage.binary_dilation(stroke, iterations=WIDTH_PX // 2) & where & (paint == 0)] = number
    return paint


def take_all(folder: Path, kept: Path, take: Callable[..., None], wait: Callable[..., None]) -> None:
    """Follow the tutorial: paint, train, look at what came of it."""
    os.environ["TESSERA_MODELS"], os.environ["TESSERA_ANNOTATIONS"] = str(kept / "models"), str(kept / "annotations")
    viewer = napari.Viewer()
    viewer.open_sample("napari-tessera", "immunohistochemistry")
    _, widget = viewer.window.add_plugin_dock_widget("napari-tessera", "Train")
    widget.form.fields["task"].value = "classes"
    widget.classes.add()
    for number, name in enumerate(CLASSES, start=1):
        widget.classes.rename(number, name)
    widget.classes._show()
    widget.pairs.first.new_button.click()
    paint = widget.pairs.first.paint
    paint.data = strokes(np.asarray(widget.pairs.first.image.data))
    take(viewer, folder / "train_paint.png")
    widget.form.budget.value = {"steps": STEPS}
    widget.name.value = "stained-tissue"
    widget.bar.run_button.click()
    wait(300, lambda: widget.live.layer is not None and len(widget.history.losses) > STEPS * 0.6)
    take(viewer, folder / "train_learning.png")
    wait(300, widget.bar.run_button.isEnabled)
    wait(30, lambda: widget.after.latest._wanted is None)
    wait(3)
    paint.visible = False
    take(viewer, folder / "train_done.png")
    viewer.close()

"""Open images with their axes, pixel size and units (File → IO Utilities); of several in a file, ask which one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.utils.notifications import show_error, show_info
from napari.viewer import Viewer
from qtpy.QtWidgets import QApplication, QFileDialog, QInputDialog, QWidget

from napari_tessera.core.jobs import Job, in_background
from napari_tessera.gui.layers.read import CHANNEL_NAMES
from napari_tessera.gui.qt.worker import Runner, sentence
from napari_tessera.gui.sample_data import layers_of
from napari_tessera.io.image_file import Picture, note_on_guessed_axes
from napari_tessera.io.read import read_image
from napari_tessera.sample_data import Sample

TITLE = "Open with Tessera"
RGB_CHANNELS = (3, 4)
AT_WORK: set[ImageOpener] = set()
"""Keeps openers alive until all their files are read."""


class ImageOpener:
    """Reads files in a thread, asks which image of several is wanted, and adds the layers."""

    def __init__(self, viewer: Viewer, paths: Sequence[Path], parent: QWidget | None = None) -> None:
        self.viewer, self.parent = viewer, parent
        self._left = list(paths)
        self._has_asked = False
        self.runner = Runner()
        self.runner.returned.connect(self._show)
        self.runner.failed.connect(self._fail)
        AT_WORK.add(self)
        self._next()

    def _next(self) -> None:
        self._has_asked = False
        if not self._left:
            AT_WORK.discard(self)
        else:
            self.runner.start(_reading(self._left[0], None))

    def _show(self, picture: Picture) -> None:
        """Add the layer of a picture, or read the image that the user prefers."""
        if picture.images and not self._has_asked:
            self._has_asked = True
            number = self._ask(picture)
            if number != picture.series:
                self.runner.start(_reading(self._left[0], number))
                return
        for data, settings, _ in layer_of(picture):
            self.viewer.add_image(data, metadata={CHANNEL_NAMES: picture.channel_names}, **settings)
        notes = (*(() if picture.images else picture.notes), *note_on_guessed_axes(picture))
        if notes:
            show_info(f"{picture.name}: {' '.join(notes)}")
        del self._left[0]
        self._next()

    def _ask(self, picture: Picture) -> int:
        """Return the number of the image that the user wants; Cancel takes the one that was read."""
        texts = {number: f"{number}: {text}" for number, text in picture.images.items()}
        now = list(texts).index(picture.series)
        question = f"{picture.name} holds {len(texts)} images. Open:"
        text, is_chosen = QInputDialog.getItem(self.parent, TITLE, question, list(texts.values()), now, False)
        return next(number for number, each in texts.items() if each == text) if is_chosen else picture.series

    def _fail(self, error: Exception) -> None:
        show_error(sentence(error))
        del self._left[0]
        self._next()


def _reading(path: Path, series: int | None) -> Job[Picture]:
    return (yield from in_background(lambda: read_image(path, series=series), f"Reading {path.name}"))


def layer_of(picture: Picture) -> Iterator[tuple[Any, dict[str, Any], str]]:
    """Yield the layer of a picture; channels that are no colours come first, as napari shows them with a slider."""
    data, axes = picture.data, picture.axes
    if axes.endswith("C") and data.shape[-1] not in RGB_CHANNELS:
        data, axes = np.moveaxis(data, -1, 0), "C" + axes[:-1]
    sample = Sample(data, None, picture.spatial, axes)
    name = f"{picture.name} · image {picture.series}" if picture.images else picture.name
    yield from layers_of(sample, name)


def open_image(viewer: Viewer) -> None:
    """Ask for files, and open them."""
    window = QApplication.activeWindow()
    names, _ = QFileDialog.getOpenFileNames(window, TITLE)
    ImageOpener(viewer, [Path(name) for name in names], window)

"""Open images with their axes, pixel size and units (File → IO Utilities); of several in a file, ask which one.

napari's own reader opens the first without a word; a note on its layer then offers the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer
from napari.utils.notifications import show_error, show_info
from napari.viewer import Viewer
from qtpy.QtWidgets import QApplication, QFileDialog, QInputDialog, QLabel, QSizePolicy, QWidget

from napari_tessera.core.jobs import Job, in_background
from napari_tessera.gui.form.model_field import CARD_STYLE, LINK_COLOUR
from napari_tessera.gui.layers.add import LayerData, image_layer
from napari_tessera.gui.layers.read import CHANNEL_NAMES
from napari_tessera.gui.qt.worker import Runner, sentence

if TYPE_CHECKING:
    from napari_tessera.io.image_file import Picture

TITLE = "Open with Tessera"
RGB_CHANNELS = (3, 4)
ANOTHER = "another"
HOLDS_MORE = "{} holds {} images, of which napari opened the first. {}"
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
        from napari_tessera.io.image_file import note_on_guessed_axes

        if picture.images and not self._has_asked:
            self._has_asked = True
            number = self._ask(picture)
            if number != picture.series:
                self.runner.start(_reading(self._left[0], number))
                return
        data, settings, _ = layer_of(picture)
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
    from napari_tessera.io.read import read_image

    return (yield from in_background(lambda: read_image(path, series=series), f"Reading {path.name}"))


def layer_of(picture: Picture) -> LayerData:
    """Return the layer of a picture; channels that are no colours come first, as napari shows them with a slider."""
    data, axes = picture.data, picture.axes
    if axes.endswith("C") and data.shape[-1] not in RGB_CHANNELS:
        data, axes = np.moveaxis(data, -1, 0), "C" + axes[:-1]
    name = f"{picture.name} · image {picture.series}" if picture.images else picture.name
    return image_layer(data, picture.spatial, axes, name)


def open_image(viewer: Viewer) -> None:
    """Ask for files, and open them."""
    window = QApplication.activeWindow()
    names, _ = QFileDialog.getOpenFileNames(window, TITLE)
    ImageOpener(viewer, [Path(name) for name in names], window)


class OtherImages(QLabel):
    """A note under the box of images, if the file of the chosen image holds others; its link opens one of them."""

    def __init__(self, viewer: ViewerModel, on_looked: Callable[[], object]) -> None:
        super().__init__()
        self.viewer, self._on_looked = viewer, on_looked
        self._layer: Layer | None = None
        self._asked: Layer | None = None
        self._looked: WeakKeyDictionary[Layer, Mapping[int, str]] = WeakKeyDictionary()
        self.runner = Runner()
        self.runner.returned.connect(self._on_returned)
        self.runner.failed.connect(lambda _: self._on_returned(({}, ())))  # napari has opened it all the same
        self.setWordWrap(True)
        self.setStyleSheet(CARD_STYLE)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.linkActivated.connect(lambda _: self.open_another())
        self.hide()

    def follow(self, layer: Layer | None) -> None:
        """Look into the file of another layer, in a thread."""
        self._layer = layer
        path = _tiff_of(layer)
        if path is not None and layer not in self._looked and not self.runner.is_running:
            self._asked = layer
            self.runner.start(_describing(path))
        images = {} if layer is None else self._looked.get(layer, {})
        if path is not None and images:
            link = f'<a href="{ANOTHER}" style="color: {LINK_COLOUR}">Open another one …</a>'
            self.setText(HOLDS_MORE.format(escape(path.name), len(images), link))
        self.setVisible(bool(path and images))

    def open_another(self) -> None:
        """Ask which image of the file is wanted, and open it."""
        if (path := _tiff_of(self._layer)) is not None:
            ImageOpener(self.viewer, [path], self.window())

    def _on_returned(self, found: tuple[Mapping[int, str], tuple[str, ...]]) -> None:
        images, names = found
        layer, self._asked = self._asked, None
        if layer is not None:
            self._looked[layer] = images
            if names:
                layer.metadata.setdefault(CHANNEL_NAMES, names)
        self._on_looked()


def _tiff_of(layer: Layer | None) -> Path | None:
    """Return the file of a layer that napari opened, if it is a TIFF."""
    if layer is None or layer.source.path is None:
        return None
    from napari_tessera.io.read import TIFF_ENDINGS

    path = Path(layer.source.path)
    return path if path.suffix.lower() in TIFF_ENDINGS else None


def _describing(path: Path) -> Job[tuple[Mapping[int, str], tuple[str, ...]]]:
    from napari_tessera.io.tiff import describe_tiff

    return (yield from in_background(lambda: describe_tiff(path, 0), f"Reading {path.name}"))

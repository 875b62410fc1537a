"""A note on the other images in the file of a layer, of which napari's own reader opens the first without a word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from weakref import WeakKeyDictionary

from napari.components import ViewerModel
from napari.layers import Layer
from qtpy.QtWidgets import QLabel, QSizePolicy

from napari_tessera.core.jobs import Job, in_background
from napari_tessera.gui.form.model_field import CARD_STYLE, LINK_COLOUR
from napari_tessera.gui.layers.read import CHANNEL_NAMES
from napari_tessera.gui.qt.worker import Runner

ANOTHER = "another"
HOLDS_MORE = "{} holds {} images, of which napari opened the first. {}"


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
            from napari_tessera.gui.open_image import ImageOpener

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

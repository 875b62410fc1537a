"""A combo box of layers that follows the viewer's layer list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from magicgui.widgets import ComboBox
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points, Shapes

from napari_tessera.core.method import Input
from napari_tessera.core.spec import Role, title_of
from napari_tessera.gui.form.field import let_shrink
from napari_tessera.gui.form.text import NO_LAYER, tooltip
from napari_tessera.gui.layers.read import RECORD

PREVIEW = "tessera_preview"
"""Key in the metadata of preview layers, which are never offered."""

LAYER_TYPES: dict[Role, type[Layer]] = {Role.IMAGE: Image, Role.LABELS: Labels, Role.POINTS: Points}


class LayerBox:
    """A combo box of the viewer's layers of some types.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    types : tuple of type
        Layer types to offer.
    title, help : str
    is_optional : bool
        Whether "(none)" is a choice.
    """

    def __init__(
        self, viewer: ViewerModel, types: tuple[type[Layer], ...], title: str, text: str = "", is_optional: bool = False
    ) -> None:
        self.viewer = viewer
        self.types = types
        self.title = title
        self.is_optional = is_optional
        self.combo = ComboBox(choices=self._choices, tooltip=tooltip(text))
        self.native = self.combo.native
        let_shrink(self.native)
        self._callbacks: list[Callable[[], Any]] = []
        self.combo.changed.connect(lambda *_: self._tell())

    @classmethod
    def for_input(cls, viewer: ViewerModel, entry: Input) -> LayerBox:
        """Make the box for an input of a method."""
        types = tuple(LAYER_TYPES[role] for role in entry.roles)
        return cls(viewer, types, title_of(entry.name), entry.help, entry.is_optional)

    @classmethod
    def for_shapes(cls, viewer: ViewerModel) -> LayerBox:
        """Make the box for the outlines of a region."""
        return cls(viewer, (Shapes,), "Inside shapes", "Segment only inside the outlines drawn in this layer.", True)

    @property
    def layer(self) -> Layer | None:
        """The chosen layer, or None."""
        return self.combo.value

    @layer.setter
    def layer(self, layer: Layer | None) -> None:
        if layer in self.combo.choices:
            self.combo.value = layer

    def on_change(self, callback: Callable[[], Any]) -> None:
        """Call `callback` whenever another layer is chosen."""
        self._callbacks.append(callback)

    def offered(self) -> list[Layer]:
        """Return the layers that can be chosen, the topmost first."""
        return [
            layer
            for layer in reversed(self.viewer.layers)
            if isinstance(layer, self.types) and PREVIEW not in layer.metadata
        ]

    def preselect(self, taken: Sequence[Layer | None] = ()) -> None:
        """Choose the active layer if it fits, or else, if the input is required, the topmost."""
        self.take_one(taken, only_active=self.is_optional)

    def take_one(self, taken: Sequence[Layer | None], only_active: bool = False) -> None:
        """Choose the active layer if it fits, or else the topmost layer that is not in `taken`."""
        offered = sorted((layer for layer in self.offered() if layer not in taken), key=_is_made_image)
        active = self.viewer.layers.selection.active
        if active in offered:
            self.layer = active
        elif offered and not only_active:
            self.layer = offered[0]

    def refresh(self) -> None:
        """Update the choices after layers were added, removed or renamed; the choice stays."""
        chosen = self.layer
        with self.combo.changed.blocked():
            self.combo.reset_choices()
            if chosen in self.combo.choices:
                self.combo.value = chosen
        if self.layer is not chosen:
            self._tell()

    def _choices(self, _: Any = None) -> list[tuple[str, Layer | None]]:
        layers: list[tuple[str, Layer | None]] = [(layer.name, layer) for layer in self.offered()]
        return [(NO_LAYER, None), *layers] if self.is_optional else layers

    def _tell(self) -> None:
        for callback in self._callbacks:
            callback()


def _is_made_image(layer: Layer) -> bool:
    """Return whether Tessera made an image layer, such as probabilities; it is rarely the next input."""
    return isinstance(layer, Image) and RECORD in layer.metadata

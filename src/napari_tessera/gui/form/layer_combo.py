"""A combo box of layers that follows the viewer's layer list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from magicgui.widgets import ComboBox
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points

from napari_tessera.core.spec import Role
from napari_tessera.gui.form.field import fit_in_form
from napari_tessera.gui.form.text import NO_LAYER, brief
from napari_tessera.gui.layers.read import RECORD, has_kinds

PREVIEW = "tessera_preview"
"""Key in the metadata of preview layers, which are never offered."""
LAYER_TYPES: dict[Role, type[Layer]] = {Role.IMAGE: Image, Role.LABELS: Labels, Role.POINTS: Points}


class LayerBox:
    """A combo box of the viewer's layers of some types; with `is_optional`, "(none)" is a choice."""

    def __init__(
        self, viewer: ViewerModel, types: tuple[type[Layer], ...], title: str, text: str = "", is_optional: bool = False
    ) -> None:
        self.viewer = viewer
        self.types = types
        self.title = title
        self.is_optional = is_optional
        self.help = text
        self.combo = ComboBox(choices=self._choices, tooltip=brief(text))
        self.native = self.combo.native
        fit_in_form(self.native)

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
        self.combo.changed.connect(lambda *_: callback())

    def offered(self) -> list[Layer]:
        """Return the layers that can be chosen, the topmost first."""
        fitting = (layer for layer in reversed(self.viewer.layers) if isinstance(layer, self.types))
        return [layer for layer in fitting if PREVIEW not in layer.metadata]

    def take_one(
        self, taken: Sequence[Layer | None], only_active: bool = False, fits: Callable[[Layer], bool] = lambda _: True
    ) -> None:
        """Choose the active layer if it fits, or else the topmost layer that fits and is not in `taken`.

        A panoptic result is both things and stuff, and never chosen for the user.
        """
        offered = [layer for layer in self.offered() if layer not in taken and not has_kinds(layer)]
        offered = [layer for layer in offered if fits(layer)]
        offered.sort(key=_is_made_image)
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
            self.combo.changed.emit(self.layer)

    def _choices(self, _: Any = None) -> list[tuple[str, Layer | None]]:
        layers: list[tuple[str, Layer | None]] = [(layer.name, layer) for layer in self.offered()]
        return [(NO_LAYER, None), *layers] if self.is_optional else layers


def _is_made_image(layer: Layer) -> bool:
    """Return whether Tessera made an image layer, such as probabilities; it is rarely the next input."""
    return isinstance(layer, Image) and RECORD in layer.metadata

"""The text of the widget Point: what happened, how sure the network is, and which keys do something now."""

from __future__ import annotations

import numpy as np
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_tessera.gui.point.pointing import Pointing
from napari_tessera.gui.qt.layout import ERROR_STYLE, PLAIN_STYLE, fill, wrapped_label

BEGIN = "Press Point, or P over the image."
HOVER = "Click an object, or drag a box around it. Wheel zooms; Space held down moves the image; Esc ends."
TAKEN = "Enter accepts. Click adds; right click (or Alt) takes away; Backspace goes back; Esc drops."
LOADING = "Loading the model …"
NOTHING_HERE = "Nothing is found here. Drag a box around the object, or click on its middle."


class PointText(QWidget):
    """Two labels: what is seen now with a hint, and what happened last."""

    def __init__(self) -> None:
        super().__init__()
        self.hint, self.message = wrapped_label(PLAIN_STYLE), wrapped_label()
        fill(QVBoxLayout(self), self.hint, self.message)
        self.say("")

    def say(self, text: str, is_error: bool = False) -> None:
        """Show what happened, or what went wrong."""
        self.message.setStyleSheet(ERROR_STYLE if is_error else PLAIN_STYLE)
        self.message.setText(text)
        self.message.setVisible(bool(text))

    def show_hint(self, pointing: Pointing, unselected: str = "") -> None:
        """Show what is seen, and what to do; `unselected` is the image that must be selected first."""
        if pointing.pointed is None:
            hint = BEGIN
        elif unselected:
            hint = f"Select {unselected!r} in the list of layers to go on pointing."
        elif pointing.is_loading:
            hint = LOADING
        else:
            hint = f"{describe(pointing)} {HOVER if pointing.pick is None else TAKEN}".strip()
        self.hint.setText(hint)


def describe(pointing: Pointing) -> str:
    """Return how sure the network is of the object that is shown, and its size."""
    shown = pointing.planes if pointing.pick else dict([pointing.hovered] if pointing.hovered else [])
    if not shown or pointing.is_looking or pointing.pointed is None:
        return ""
    area_px = sum(each.area_px for each in shown.values())
    if not area_px:
        return NOTHING_HERE
    sureness = np.mean([each.found.sureness for each in shown.values()])
    where = f" in {len(shown)} {pointing.pointed.scene.step_name}s" if len(shown) > 1 else ""
    return f"{100 * sureness:.0f} % sure, {area_px:,} px{where}."

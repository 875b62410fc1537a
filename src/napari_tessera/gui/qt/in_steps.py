"""Widgets that are built in steps, so that the window is never held for long while they open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qtpy.QtWidgets import QWidget

Steps = Iterator[None]
"""The steps of a generator that builds a widget: each takes a few hundredths of a second."""


class BuiltInSteps(QWidget):
    """A widget that the generator `build` makes; the constructor takes all steps, or leaves them to the caller.

    Attributes
    ----------
    viewer : napari.Viewer
    building : Steps
        The steps that are left.
    """

    def __init__(self, napari_viewer: Any, parent: QWidget | None = None, in_steps: bool = False) -> None:
        super().__init__(parent)
        # napari may pass a proxy that hides private names; its layers differ from the viewer's.
        self.viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.building = self.build()
        if not in_steps:
            take_all(self.building)

    @classmethod
    def prepare(cls) -> None:
        """Read what every widget of this class needs, in another thread."""

    def build(self) -> Steps:
        """Make the parts, and put them in place."""
        raise NotImplementedError

    def shut_down(self) -> None:
        """Stop everything; called when the widget is closed."""

    def reset_choices(self, *_: Any) -> None:
        """Update the layer boxes; called when a layer is added, removed or renamed."""


def take_all(steps: Steps) -> None:
    """Take all steps that are left."""
    for _ in steps:
        pass

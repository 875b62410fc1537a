"""Whether layers of paint have changed since a certain moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from napari.layers import Labels

STROKES = ("paint", "data")
"""napari's events after a stroke, or when a layer gets another array."""
ANYTHING = (*STROKES, "set_data")
"""Also when a stroke is undone, of which napari tells nothing but that the layer is drawn anew."""


class Since:
    """Takes note of the first change of some layers.

    Parameters
    ----------
    events : sequence of str
        What counts as a change.
    tell : function ()
        Called at the first change.

    Attributes
    ----------
    has_changed : bool
    """

    def __init__(self, events: Sequence[str], tell: Callable[[], Any] = lambda: None) -> None:
        self.has_changed = False
        self._names, self._tell = events, tell
        self._watched: list[Any] = []

    def watch(self, layers: Iterable[Labels]) -> None:
        """Look at these layers from now on, and at no others."""
        self._let_go()
        self.has_changed = False
        self._watched = [getattr(layer.events, name) for layer in layers for name in self._names]
        for event in self._watched:
            event.connect(self._on_change)

    def _let_go(self) -> None:
        for event in self._watched:
            event.disconnect(self._on_change)
        self._watched = []

    def _on_change(self, *_: Any) -> None:
        if not self.has_changed:
            self.has_changed = True
            self._tell()

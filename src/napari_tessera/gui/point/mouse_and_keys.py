"""The mouse and the keys on an image layer while the user points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from napari.layers import Layer
from napari.utils.key_bindings import coerce_keybinding

from napari_tessera.gui.layers.read import camera_of
from napari_tessera.gui.point.scene import distance

CLICK_PX = 4.0
"""The mouse may move so far, in pixels of the screen, while a button is pressed, and it is a click."""
LEFT, RIGHT, MIDDLE = 1, 2, 3
PAN_ZOOM, CROSS = "pan_zoom", "cross"
DOUBLE_CLICK_ZOOM = "double_click_to_zoom"
"""Name of napari's function; two clicks on an object shall not zoom."""


class User(Protocol):
    """What the mouse asks for; positions are in the viewer's world."""

    def on_move(self, position: Any) -> None:
        """Follow the mouse, while no button is pressed."""

    def on_click(self, position: Any, is_beside: bool) -> None:
        """Take a click on the object, or beside it."""

    def on_drag(self, first: Any, last: Any) -> None:
        """Show the box that is being drawn."""

    def on_box(self, first: Any, last: Any) -> None:
        """Take a box."""


class KeysOf:
    """Keys of a layer that do something else for a while; what they did before comes back."""

    def __init__(self, keys: dict[str, Callable[[Layer], Any]]) -> None:
        self._keys = keys
        self._layer: Layer | None = None
        self._before: dict[str, Any] = {}

    def bind(self, layer: Layer | None) -> None:
        """Give the keys to a layer, and take them from the one before; None takes them only."""
        if layer is self._layer:
            return
        if self._layer is not None:
            for key, action in self._before.items():
                self._layer.bind_key(key, action, overwrite=True)
        if layer is not None:
            self._before = {key: layer.keymap.get(coerce_keybinding(key)) for key in self._keys}
            for key, action in self._keys.items():
                layer.bind_key(key, action, overwrite=True)
        self._layer = layer


class Mouse:
    """Passes the mouse on a layer to the user's hand; while it is held, the left button does not move the image."""

    def __init__(self, viewer: Any, user: User) -> None:
        self.viewer, self.user = viewer, user
        self.layer: Any = None
        self._cursor = ""
        self._mode = PAN_ZOOM
        self._zooming: list[Any] = []

    def hold(self, layer: Layer) -> None:
        """Take the mouse on a layer, which becomes the active one."""
        self.release()
        self.viewer.layers.selection.active = layer
        self._mode, self._cursor = str(layer.mode), str(layer.cursor)
        layer.mode = PAN_ZOOM
        layer.mouse_pan, layer.cursor = False, CROSS
        layer.mouse_move_callbacks.append(self._on_move)
        layer.mouse_drag_callbacks.append(self._on_drag)
        on_double_click = self.viewer.mouse_double_click_callbacks
        self._zooming = [each for each in on_double_click if getattr(each, "__name__", "") == DOUBLE_CLICK_ZOOM]
        for each in self._zooming:
            on_double_click.remove(each)
        self.layer = layer

    def release(self) -> None:
        """Give the mouse back."""
        layer, self.layer = self.layer, None
        if layer is None:
            return
        for callbacks, own in (
            (layer.mouse_move_callbacks, self._on_move),
            (layer.mouse_drag_callbacks, self._on_drag),
        ):
            if own in callbacks:
                callbacks.remove(own)
        self.viewer.mouse_double_click_callbacks.extend(self._zooming)
        if str(layer.mode) == PAN_ZOOM:  # otherwise the user chose another mode
            layer.mouse_pan, layer.cursor = True, self._cursor
            layer.mode = self._mode

    @property
    def is_in_mode(self) -> bool:
        """Whether the layer is in the mode in which it is held."""
        return self.layer is None or str(self.layer.mode) == PAN_ZOOM

    def move_image(self, layer: Any) -> Iterator[None]:
        """Let the left button move the image until the key is released."""
        layer.mouse_pan = True
        yield
        if self.layer is layer:
            layer.mouse_pan = False

    def _on_move(self, _: Layer, event: Any) -> None:
        self.user.on_move(np.array(event.position))

    def _on_drag(self, layer: Layer, event: Any) -> Iterator[None]:
        """Follow the mouse from the press of a button to its release."""
        if event.button == MIDDLE:
            yield from self._pan(event)
            return
        if layer.mouse_pan or event.button not in (LEFT, RIGHT):
            return
        first, on_canvas = np.array(event.position), tuple(event.pos)
        is_beside = event.button == RIGHT or "Alt" in event.modifiers
        is_drag = False
        yield
        while event.type == "mouse_move":
            is_drag = is_drag or distance(event.pos, on_canvas) > CLICK_PX
            if is_drag and not is_beside:
                self.user.on_drag(first, np.array(event.position))
            yield
        if not is_drag:
            self.user.on_click(first, is_beside)
        elif not is_beside:
            self.user.on_box(first, np.array(event.position))

    def _pan(self, event: Any) -> Iterator[None]:
        """Move the image with the mouse."""
        camera, axes = camera_of(self.viewer), list(self.viewer.dims.displayed)
        first = np.array(event.position)[axes]
        yield
        while event.type == "mouse_move":
            moved = np.array(event.position)[axes] - first
            centre = np.array(camera.center, float)
            centre[-2:] -= moved[-2:]
            camera.center = tuple(centre)
            yield

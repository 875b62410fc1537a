"""The labels layer that takes the objects: which layers can, the next number, and one step of undo for each object."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Layer
from qtpy.QtCore import QObject, Signal

from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Job
from napari_tessera.core.sparse_array import highest_of
from napari_tessera.gui.correct.corrected_layer import is_changeable
from napari_tessera.gui.form.layer_combo import LayerBox
from napari_tessera.gui.layers.annotation import POINTED, annotation_facts, empty_labels, is_annotation
from napari_tessera.gui.layers.read import labels_of, record_of
from napari_tessera.gui.point.object_in_hand import Seen
from napari_tessera.gui.point.scene import Plane, Scene
from napari_tessera.gui.qt.worker import Runner, shown_by

OF_RUN = "pointed"
"""What `POINTED` is in the record of the run that made a layer."""
NEW_LAYER = "New layer"
TARGET_HELP = (
    "The labels layer that takes the objects; those that it has already stay as they are. A new layer is added with "
    "the first object."
)


class TargetBox(LayerBox):
    """A box of the labels layers that can take objects of an image, and "New layer"."""

    def __init__(self, viewer: ViewerModel, scene: Callable[[], Scene | None]) -> None:
        self._scene = scene
        super().__init__(viewer, (Labels,), "Objects go into", TARGET_HELP, is_optional=True)

    def offered(self) -> list[Layer]:
        """Return the layers that have the image's shape, whose pixels can be changed and are no classes."""
        scene = self._scene()
        return [layer for layer in super().offered() if scene is not None and can_take(layer, scene)]

    def _choices(self, _: Any = None) -> list[tuple[str, Layer | None]]:
        return [(NEW_LAYER, None), *((layer.name, layer) for layer in self.offered())]


def can_take(layer: Layer, scene: Scene) -> bool:
    """Return whether a layer can take objects of an image."""
    if not isinstance(layer, Labels) or not is_changeable(layer):
        return False
    is_of_classes = is_annotation(layer) and annotation_facts(layer).get("task") == "classes"
    return not is_of_classes and tuple(labels_of(layer, scene.axes).shape) == scene.shape


def new_layer(scene: Scene) -> Labels:
    """Make an empty labels layer over an image."""
    return empty_labels(scene.layer, scene.axes, f"{scene.layer.name} · point")


@dataclass(frozen=True)
class Accepted:
    """An object on its way into a layer, and its number there."""

    scene: Scene
    layer: Labels
    planes: dict[Plane, Seen]
    model: str
    number: int = 0
    n_px: int = 0  # that were free


class Acceptance(QObject):
    """Puts objects into layers, one after the other; `accepted` or `failed` is emitted for each."""

    accepted = Signal(object)
    failed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.runner = Runner()
        self.runner.returned.connect(self._on_numbered)
        self.runner.failed.connect(self._on_failed)
        self.runner.cancelled.connect(self._next)
        self._waiting: deque[Accepted] = deque()
        self._first_pixels: WeakKeyDictionary[Layer, list[tuple[int, tuple[int, ...]]]] = WeakKeyDictionary()

    @property
    def is_busy(self) -> bool:
        """Whether objects are not in their layer yet."""
        return bool(self._waiting)

    def accept(self, accepted: Accepted) -> None:
        """Put an object into a layer, after those before it."""
        self._waiting.append(accepted)
        self._next()

    def count(self, layer: Layer | None) -> int:
        """Return how many of the objects that were put into a layer are still there."""
        if layer is None:
            return 0
        pixels = self._first_pixels.get(layer, [])
        return sum(int(np.asarray(layer.data[pixel])) == number for number, pixel in pixels)

    def note(self, layer: Labels) -> None:
        """Note in a layer's metadata how many objects were pointed at."""
        if POINTED in layer.metadata:
            layer.metadata[POINTED]["objects"] = self.count(layer)
            if (record := record_of(layer)) is not None:
                record[OF_RUN] = dict(layer.metadata[POINTED])

    def close(self, seconds: float) -> None:
        """Stop; objects that are not in their layer yet are lost."""
        self._waiting.clear()
        self.runner.cancel()
        self.runner.wait(seconds)

    def _next(self) -> None:
        if self._waiting and not self.runner.is_running:
            self.runner.start(numbering(self._waiting[0].layer))

    def _on_numbered(self, number: int) -> None:
        if self._waiting:
            with shown_by(self.failed.emit):
                self._put(self._waiting[0], number)
            self._waiting.popleft()
        self._next()

    def _on_failed(self, error: BaseException) -> None:
        if self._waiting:
            self._waiting.popleft()
        self.failed.emit(error)
        self._next()

    def _put(self, each: Accepted, number: int) -> None:
        layer = each.layer
        if layer not in each.scene.viewer.layers:
            raise InputError(f"{layer.name!r} was removed before the object was in it.")
        indices = free_pixels(each)
        if not len(indices[-1]):
            raise InputError("All pixels of this object belong to other objects of the layer: nothing was added.")
        if number > np.iinfo(layer.data.dtype).max:
            raise InputError(
                f"{layer.name!r} has no numbers left ({layer.data.dtype} goes up to {np.iinfo(layer.data.dtype).max}): "
                "convert it (right click on the layer) to int32, or choose a new layer."
            )
        layer.data_setitem(indices, number)
        first = tuple(int(along[0]) for along in indices)
        self._first_pixels.setdefault(layer, []).append((number, first))
        layer.metadata[POINTED] = {"model": each.model, "image": each.scene.layer.name}
        self.note(layer)
        self.accepted.emit(Accepted(each.scene, layer, each.planes, each.model, number, len(indices[-1])))


def numbering(layer: Labels) -> Job[int]:
    """Return the next number that no object of a layer has; in an annotation, 1 is the background."""
    highest = yield from highest_of(layer.data)
    return max(highest + 1, 2 if is_annotation(layer) else 1)


def free_pixels(each: Accepted) -> tuple[np.ndarray, ...]:
    """Return the indices, in its layer, of those pixels of an object that belong to no other one."""
    axes = each.scene.axes if each.layer.ndim == len(each.scene.axes) else each.scene.axes.replace("C", "")
    parts = []
    for plane, seen in each.planes.items():
        at = dict(zip(each.scene.outer, plane, strict=True)) | {"C": 0}
        before = tuple(at[axis] for axis in axes[:-2])
        taken = np.asarray(each.layer.data[(*before, *seen.found.place)])
        rows, columns = np.nonzero(seen.found.mask & (taken == 0))
        outer = [np.full(len(rows), index, np.intp) for index in before]
        parts.append([*outer, rows + seen.found.corner[0], columns + seen.found.corner[1]])
    return tuple(np.concatenate(along) for along in zip(*parts, strict=True))

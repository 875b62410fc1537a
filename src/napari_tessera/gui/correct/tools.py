"""The tools that correct labels by mouse: what each needs from the mouse, and the operation that it asks for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from napari_tessera.algorithms import label_edits as edits
from napari_tessera.algorithms.label_edits import Edit
from napari_tessera.core.errors import InputError
from napari_tessera.core.region import draw_outlines

Gesture = Literal["click", "two clicks", "drag", "drag or two clicks"]
STEP_PX = 0.5
"""A path is looked at this often."""


@dataclass(frozen=True)
class Stroke:
    """What the mouse did on a part of a layer, whose last two axes are those on the screen.

    Attributes
    ----------
    labels : array
        The part: a plane, or a volume that the plane shown belongs to.
    path : (M, N) array
        Positions in pixels of the part, one for a click.
    spacing : tuple of float
        Pixel size along the axes of the part.
    distance_px : float
        The distance chosen in the widget, in pixels of the last axis.
    free : int
        For new objects: a number that no object of the layer has; higher ones are free, too.
    is_back : bool
        Whether Alt was pressed: the plane before instead of the next one.
    """

    labels: np.ndarray
    path: np.ndarray
    spacing: tuple[float, ...]
    distance_px: float
    free: int
    is_back: bool = False

    @property
    def distance(self) -> float:
        """The distance in the unit of the spacing."""
        return self.distance_px * self.spacing[-1]

    def numbers(self) -> list[int]:
        """Return the objects under the path, in its order, without the background."""
        found = [int(self.labels[tuple(pixel)]) for pixel in _pixels(self.path, self.labels.shape)]
        return list(dict.fromkeys(number for number in found if number > 0))

    def number(self) -> int:
        """Return the object that the path crosses most of; without one, raise InputError."""
        found = [int(self.labels[tuple(pixel)]) for pixel in _pixels(self.path, self.labels.shape)]
        found = [number for number in found if number > 0]
        if not found:
            raise InputError("There is no object here: click, or draw, on one.")
        return max(set(found), key=found.count)


@dataclass(frozen=True)
class Tool:
    """A tool of the widget.

    Attributes
    ----------
    name, title, key : str
        The key works while the mouse is over the canvas, and the layer is selected.
    hint : str
        What to do with the mouse.
    gesture : str
    edit : function
        Turns what the mouse did into the operation.
    makes_objects, needs_stack : bool
        Whether new objects need numbers, and whether the layer must have planes.
    """

    name: str
    title: str
    key: str
    hint: str
    gesture: Gesture
    edit: Callable[[Stroke], Edit]
    makes_objects: bool = False
    needs_stack: bool = False


def _merge(stroke: Stroke) -> Edit:
    numbers = stroke.numbers()
    if len(numbers) < 2:
        raise InputError("Only one object is here: drag from one object into the one to join with it.")
    return edits.merge(stroke.labels, numbers)


def _split_at(stroke: Stroke) -> Edit:
    at = [tuple(pixel) for pixel in _clipped(stroke.path, stroke.labels.shape)]
    number = int(stroke.labels[at[0]])
    if number == 0 or int(stroke.labels[at[-1]]) != number:
        raise InputError("Both clicks must be in one object: click one part of it, then the other.")
    return edits.split_by_seeds(stroke.labels, number, at, spacing=stroke.spacing, free=stroke.free)


def _draw(stroke: Stroke) -> Edit:
    shape = stroke.labels.shape
    if len(stroke.path) < 3:
        raise InputError("That was only a click: drag around the new object with the button pressed.")
    mask = np.zeros(shape, bool)
    plane = tuple(_clipped(stroke.path[:1], shape)[0][:-2])
    mask[plane] = draw_outlines([stroke.path[:, -2:]], (shape[-2], shape[-1]))
    return edits.draw(stroke.labels, mask, stroke.free)


def _copy(stroke: Stroke) -> Edit:
    source = int(_clipped(stroke.path[:1], stroke.labels.shape)[0][0])
    target = source + (-1 if stroke.is_back else 1)
    if not 0 <= target < len(stroke.labels):
        raise InputError(f"This is the {'first' if stroke.is_back else 'last'} plane: there is none to copy to.")
    return edits.copy_plane(stroke.labels, stroke.number(), 0, source, target)


TOOLS = (
    Tool("delete", "Delete", "D", "Click an object to delete it.", "click",
         lambda s: edits.delete(s.labels, s.number())),
    Tool("merge", "Join", "J", "Drag from one object into the next: all that you touch become one.", "drag", _merge),
    Tool("split", "Cut", "S", "Drag a line across an object, from background to background.", "drag",
         lambda s: edits.split_along(s.labels, s.number(), s.path[:, -2:], free=s.free), makes_objects=True),
    Tool("split_at", "Part", "A", "Click two parts of one object: the border goes between them.", "two clicks",
         _split_at, makes_objects=True),
    Tool("draw", "Draw", "W", "Drag around a new object; other objects stay.", "drag", _draw,
         makes_objects=True),
    Tool("fill_holes", "Fill holes", "H", "Click an object to fill its holes.", "click",
         lambda s: edits.fill_holes(s.labels, s.number())),
    Tool("grow", "Grow", "G", "Click an object to make it larger.", "click",
         lambda s: edits.grow(s.labels, s.number(), s.distance, spacing=s.spacing)),
    Tool("shrink", "Shrink", "K", "Click an object to make it smaller.", "click",
         lambda s: edits.shrink(s.labels, s.number(), s.distance, spacing=s.spacing)),
    Tool("smooth", "Smooth", "O", "Click an object to smooth its outline.", "click",
         lambda s: edits.smooth(s.labels, s.number(), s.distance, spacing=s.spacing)),
    Tool("copy", "Copy on", "C", "Click an object to copy its outline to the next plane; with Alt, to the one before.",
         "click", _copy, needs_stack=True),
    Tool("interpolate", "Fill planes", "I", "Click an object to fill the planes between those that hold it.", "click",
         lambda s: edits.interpolate(s.labels, s.number(), 0), needs_stack=True),
)  # fmt: skip


def tool_named(name: str) -> Tool:
    """Return a tool by its name."""
    return next(tool for tool in TOOLS if tool.name == name)


def _clipped(path: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return the pixels of positions, those outside moved to the edge: (M, N) int."""
    return np.clip(np.rint(path), 0, np.array(shape) - 1).astype(int)


def _pixels(path: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return the pixels under a path, one after the other, without those outside."""
    parts = [path[:1]]
    for start, end in itertools.pairwise(path):
        steps = max(1, int(np.ceil(np.abs(end - start).max() / STEP_PX)))
        parts.append(start + (end - start) * np.linspace(0, 1, steps + 1)[1:, None])
    pixels = np.rint(np.concatenate(parts)).astype(int)
    return pixels[((pixels >= 0) & (pixels < np.array(shape))).all(axis=1)]

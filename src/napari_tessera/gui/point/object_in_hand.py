"""The object that is being pointed at: its clicks, and the jobs that find it and follow it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_tessera.core.jobs import Job, Progress
from napari_tessera.gui.point.scene import Box, Place, Plane, Scene
from napari_tessera.methods.point import PointedImage

if TYPE_CHECKING:
    from napari_tessera.inference.click import Clicks, FoundObject
    from napari_tessera.inference.predictor import Network
    from napari_tessera.models.registry import ModelEntry

# What computes is imported inside functions, in the thread: a widget opens without waiting for SciPy and torch.

MOST_PLANES = 10_000


@dataclass(frozen=True)
class Mark:
    """A click on the object ("positive") or beside it ("negative"), or a box around it."""

    kind: Literal["positive", "negative", "box"]
    at: Place | Box


@dataclass(frozen=True)
class Pick:
    """What the user pointed at in one plane, in order."""

    plane: Plane
    marks: tuple[Mark, ...] = ()

    @property
    def is_enough(self) -> bool:
        """Whether there is a click on the object, or a box."""
        return any(mark.kind != "negative" for mark in self.marks)

    def places(self, kind: str) -> tuple[Place, ...]:
        """Return the clicks of a kind."""
        return tuple((mark.at[0], mark.at[1]) for mark in self.marks if mark.kind == kind)

    @property
    def box(self) -> Box | None:
        """The box that was drawn last, or None."""
        return next((mark.at for mark in reversed(self.marks) if len(mark.at) == 4), None)

    def marked(self, mark: Mark) -> Pick:
        """Return the pick with one more mark."""
        return replace(self, marks=(*self.marks, mark))

    def without_last(self) -> Pick:
        """Return the pick without its last mark."""
        return replace(self, marks=self.marks[:-1])

    def clicks(self) -> Clicks:
        """Return what the network is given."""
        from napari_tessera.inference.click import Clicks

        return Clicks(self.places("positive"), self.places("negative"), self.box)


@dataclass(frozen=True)
class Seen:
    """An object in a plane, with its outline."""

    found: FoundObject
    outline: np.ndarray  # (N, 2, 2) lines in pixels of the image

    @property
    def area_px(self) -> int:
        """Pixels of the object."""
        return self.found.area

    @property
    def diameter_px(self) -> float:
        """Diameter of a disk of the same area."""
        return float(2 * np.sqrt(self.area_px / np.pi))


@dataclass(frozen=True)
class Pointed:
    """The image that is pointed at, as the network reads it, and the model of the network."""

    scene: Scene
    image: PointedImage
    entry: ModelEntry

    def looking(self, network: Network, pick: Pick, usual_px: float | None) -> Job[Seen]:
        """Return the job that finds the object of a pick."""
        yield Progress(0, 1, "Looking")
        return seen(self.image.find(network, pick.clicks(), pick.plane, usual_px))

    def following(self, network: Network, before: Seen, plane: Plane, kept: dict[Plane, Seen]) -> Job[None]:
        """Return the job that follows an object plane by plane; what is found is put into `kept`."""
        axis = self.scene.followed_axis
        if axis is None:
            return
        yield Progress(0, 1, self._step(plane))
        for at, found in self.image.follow(network, before.found, plane, axis, MOST_PLANES):
            kept[at] = seen(found)
            yield Progress(0, 1, self._step(at))

    def _step(self, plane: Plane) -> str:
        axis = self.scene.followed_axis
        return "" if axis is None else f"{self.scene.step_name} {plane[axis]}"


def seen(found: FoundObject) -> Seen:
    """Return an object with its outline, moved to its place."""
    from napari_tessera.algorithms.mask_outline import outline_lines

    return Seen(found, outline_lines(found.mask) + found.corner)

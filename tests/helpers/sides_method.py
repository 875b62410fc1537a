"""A method for tests that has more to say than labels: bright objects, which side they lie on, and a note."""

from __future__ import annotations

import numpy as np

from napari_tessera.core.jobs import Job, Progress
from napari_tessera.core.labels import connected_components
from napari_tessera.core.method import Method
from napari_tessera.core.result import ExtraImage, MethodOutput
from napari_tessera.core.spec import ChannelAxis, Image, Spacing


def sides(image: Image, *, spacing: Spacing = None, channel_axis: ChannelAxis = None) -> Job[MethodOutput]:
    """Number bright objects, and say of each pixel whether it lies left (1) or right (2).

    Parameters
    ----------
    image : array
    spacing : tuple of float, optional
    channel_axis : int, optional
    """
    yield Progress(0, 1, "Looking")
    labels = connected_components(image > 0)
    middle = image.shape[-1] // 2
    halves = np.where(np.arange(image.shape[-1]) < middle, 1, 2) + np.zeros(image.shape, np.int32)
    numbers = np.arange(1, labels.max() + 1)
    names = np.array([f"object {number}" for number in numbers])
    side_table = {"label": np.array([1, 2]), "side": np.array(["left", "right"])}
    others = (ExtraImage("halves", "classes", halves, side_table), ExtraImage("again", "objects", labels))
    return MethodOutput(labels, {"label": numbers, "name": names}, ("Only sides were told.",), others)


def reach(**parameters: object) -> int:
    """An object is seen whole from one pixel away."""
    return 1


METHOD = Method(sides, "Sides", join="overlap", reach=reach)

"""A method for tests that has more to say than labels: bright objects, which side they lie on, and a note."""

from __future__ import annotations

import numpy as np

from napari_tessera.jobs import Job, Progress
from napari_tessera.labels import connected_components
from napari_tessera.result import Found, Other
from napari_tessera.spec import ChannelAxis, Image, Spacing


def sides(image: Image, *, spacing: Spacing = None, channel_axis: ChannelAxis = None) -> Job[Found]:
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
    others = (Other("halves", "classes", halves, side_table), Other("again", "objects", labels))
    return Found(labels, {"label": numbers, "name": names}, ("Only sides were told.",), others)


def reach(**parameters: object) -> int:
    """An object is seen whole from one pixel away."""
    return 1

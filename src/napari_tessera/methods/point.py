"""The method `point`: the object under each point, by a network that has learnt what people click on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from napari_tessera.core.jobs import Job, Progress, subtask
from napari_tessera.core.labels import renumbering
from napari_tessera.core.method import Method
from napari_tessera.core.spec import (
    Channel,
    ChannelAxis,
    Device,
    Image,
    Labels,
    ModelName,
    NeedsAxis,
    Points,
    Range,
    Table,
    Valid,
)
from napari_tessera.methods._network_checks import colours_of, loaded

if TYPE_CHECKING:
    from napari_tessera.inference.click import Clicks, FoundObject
    from napari_tessera.inference.predictor import Network

MOST_CLICKS = 8
"""Pixels of a painted seed that are taken for clicks, spread over it."""


@dataclass(frozen=True)
class PointedImage:
    """An image, or what stands for one on a disk, of which a network reads a few windows around what is clicked.

    Parameters
    ----------
    image : array
        (Y, X) or (Z, Y, X), or with more axes in front, with the channels at `channel_axis`.
    """

    image: Any
    channel_axis: int | None = None
    channel: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes without channels."""
        return tuple(side for axis, side in enumerate(self.image.shape) if axis != self.channel_axis)

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.shape[-2:]
        return height, width

    def reader(self, plane: tuple[int, ...] = ()) -> Callable[[tuple[slice, ...]], np.ndarray]:
        """Return the function that reads the colours of a window of a plane, float32 (3, Y, X)."""

        def read(window: tuple[slice, ...]) -> np.ndarray:
            index: list[int | slice] = [*plane, *window]
            axis = self.channel_axis
            if axis is not None:
                index.insert(axis, slice(None))
                axis -= sum(isinstance(each, int) for each in index[:axis])
            shown = np.asarray(self.image[tuple(index)])
            part, is_coloured = colours_of(shown, axis, self.channel, "point")
            if is_coloured:
                return np.ascontiguousarray(np.moveaxis(part, -1, 0), dtype=np.float32)
            return np.broadcast_to(part.astype(np.float32), (3, *part.shape))

        return read

    def find(
        self, network: Network, clicks: Clicks, plane: tuple[int, ...] = (), usual_px: float | None = None
    ) -> FoundObject:
        """Find the object that is pointed at in a plane; see `inference.click.find_object`."""
        from napari_tessera.inference.click import find_object

        return find_object(network, self.reader(plane), self.plane_shape, clicks, usual_px)

    def follow(
        self, network: Network, found: FoundObject, plane: tuple[int, ...], axis: int, most: int
    ) -> Iterator[tuple[tuple[int, ...], FoundObject]]:
        """Follow an object along an axis, up and then down, through at most so many planes each; yield plane by plane.

        It ends where the object does, or where the network is no longer sure.
        """
        from napari_tessera.inference.click import follow_object

        for step in (1, -1):
            before, at = found, plane
            for _ in range(most):
                place = at[axis] + step
                if not 0 <= place < self.shape[axis]:
                    break
                at = (*at[:axis], place, *at[axis + 1 :])
                beside = follow_object(network, self.reader(at), self.plane_shape, before)
                if beside is None:
                    break
                yield at, beside
                before = beside


def point(
    image: Image,
    points: Points | Labels,
    *,
    model: Annotated[str, ModelName("click")] = "click",
    diameter: Annotated[float | None, Range(1, 5000, unit="px")] = None,
    planes: Annotated[int, NeedsAxis("Z"), Range(0, 10_000)] = 10_000,
    channel: Channel = None,
    device: Device = "auto",
    channel_axis: ChannelAxis = None,
    valid: Valid = None,
) -> Job[tuple[Labels, Table]]:
    """Find the object under each point with a network for objects of any kind.

    Parameters
    ----------
    image : array
        (Y, X) or (Z, Y, X), with the channels at `channel_axis`.
    points : array
        Points, (N, 2) as y, x or (N, 3) as z, y, x: each is a click on one object. Or painted labels of the image's
        shape: each number is a stroke on one object; 0 is not painted.
    model : str
        Name of a click network, or path of a model file.
    diameter : float, optional
        About how large the objects are, in pixels: it helps where a click could mean a part or the whole of something.
        Empty looks closely first, and then from farther away where the object does not end.
    planes : int
        Through how many planes of a volume an object is followed, up and down from the click; it ends earlier where it
        can no longer be told. 0 keeps it in its plane.
    channel : int, optional
        Channel to look at, from 0. Empty takes three or four channels as the colours red, green and blue (the fourth,
        opacity, is left out), any other number of channels as their mean.
    device : str
        Where the network runs. "auto" takes a graphics card if there is one, otherwise the processor.
    channel_axis : int, optional
        Axis of `image` that holds channels, or None.
    valid : array of bool, optional
        Where the image is; objects end there.

    Returns
    -------
    labels : array
        One object for each point that lies on one, 1…N in raster order. A pixel of two objects belongs to the one of
        the earlier point.
    table : dict
        One row per object: ``label``; ``point``, the painted number, or the number of the point from 1; ``sureness``,
        how sure the network is of its pixels, 0 to 1; ``num_planes``, in how many planes it lies.

    Raises
    ------
    ParameterError
        If there is no such model or device, or the image does not have the channel.
    ModelError
        If the model file is damaged, or newer than this version.

    Notes
    -----
    The network sees a window of 96 × 96 pixels, cut and scaled around the point and then, once more, around the first
    outline; so objects of about 6 to 500 pixels are found, and nothing else of the image is read. Brightness is that of
    the window. Points on one and the same object give the same object twice, of which the first is kept. Clicks beside
    an object, and a box around it, are taken by `tessera.point` and by the widget.

    References
    ----------
    Xu N. et al. (2016), Deep interactive object selection, doi:10.1109/CVPR.2016.47. Sofiiuk K. et al. (2022), Reviving
    iterative training with mask guidance, doi:10.1109/ICIP46576.2022.9897365.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_tessera as tessera
    >>> y, x = np.mgrid[:64, :64]
    >>> image = 200.0 * ((y - 20) ** 2 + (x - 20) ** 2 < 100) + 200.0 * ((y - 44) ** 2 + (x - 42) ** 2 < 100)
    >>> tessera.segment("point", image, points=[[44, 42]]).labels.max()
    np.int32(1)
    """
    from napari_tessera.algorithms.seeded_growing import read_seeds
    from napari_tessera.models import registry as catalogue

    entry = catalogue.find(model)
    pointed = PointedImage(image, channel_axis, channel)
    network = yield from subtask(loaded(entry, device), 0, 1, 10)

    from napari_tessera.inference.click import Clicks

    seeds = read_seeds(points, pointed.shape)
    labels = np.zeros(pointed.shape, np.int32)
    rows: list[tuple[int, float, int]] = []
    for index, number in enumerate(seeds.numbers.tolist()):
        pixels = seeds.pixels[:, seeds.owners == index]
        middle = pixels[:, pixels.shape[1] // 2]
        plane = tuple(middle[:-2].tolist())
        own = pixels[-2:, (pixels[:-2] == middle[:-2, None]).all(0)]
        kept = np.linspace(0, own.shape[1] - 1, min(MOST_CLICKS, own.shape[1])).round().astype(int)
        clicks = Clicks(tuple((float(y), float(x)) for y, x in own[:, kept].T))
        yield Progress(1 + 8 * index / len(seeds.numbers), 10, f"Looking at point {index + 1} of {len(seeds.numbers)}")
        found = pointed.find(network, clicks, plane, diameter)
        sureness, n_planes = [found.sureness], 1
        label = len(rows) + 1
        _draw(labels, plane, found, label)
        if plane and found.area:
            for at, beside in pointed.follow(network, found, plane, 0, planes):
                yield Progress(1 + 8 * index / len(seeds.numbers), 10, f"Following point {index + 1} to plane {at[0]}")
                _draw(labels, at, beside, label)
                sureness.append(beside.sureness)
                n_planes += 1
        rows.append((number, float(np.mean(sureness)), n_planes))
    if valid is not None:
        labels = np.where(valid, labels, 0)
    labels, kept_rows = yield from subtask(renumbering(labels), 9, 1, 10)
    drawn = [rows[row - 1] for row in kept_rows]
    return labels, {
        "label": np.arange(1, len(drawn) + 1),
        "point": np.array([number for number, _, _ in drawn], np.int64),
        "sureness": np.array([sureness for _, sureness, _ in drawn], np.float64),
        "num_planes": np.array([count for _, _, count in drawn], np.int64),
    }


def _draw(labels: np.ndarray, plane: tuple[int, ...], found: FoundObject, label: int) -> None:
    """Give the pixels of an object its label, where no other object is."""
    if found.area:
        part = labels[plane][found.place]
        part[found.mask & (part == 0)] = label


METHOD = Method(point, "Point")

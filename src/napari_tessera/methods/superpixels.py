"""Superpixels: small connected regions of similar colour (SLIC), which may be merged into larger ones."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

import numpy as np

from napari_tessera.core.child_process import run_in_child
from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Job, Progress, subtask
from napari_tessera.core.labels import renumber
from napari_tessera.core.method import Method
from napari_tessera.core.parallel import Piece, in_threads, pieces
from napari_tessera.core.rescale import refuse_tiny, share_of_range, value_range
from napari_tessera.core.spec import (
    SIGMA_TITLE,
    Advanced,
    Channel,
    ChannelAxis,
    Choices,
    Image,
    Labels,
    NeedsAxis,
    Range,
    ShownIf,
    Spacing,
    Title,
)

COLOUR_CHANNELS = (3, 4)
FULL_RANGE = 100.0
"""The image's range of intensities, in the unit of lightness in CIELAB."""
SMALL_VALUES = 2**13
"""An image of fewer values takes less time than a new process."""

Features = Annotated[Literal["auto", "cielab", "channels", "intensity"], Choices({"cielab": "CIELAB"})]


def superpixels(
    image: Image,
    *,
    n_segments: Annotated[int, Range(1, 1_000_000), Title("Number of segments")] = 250,
    compactness: Annotated[float, Range(0.01, 1000, step=1)] = 10.0,
    sigma: Annotated[float, SIGMA_TITLE, Range(0, 50, unit="px", step=0.5)] = 0.0,
    features: Annotated[Features, NeedsAxis("C")] = "auto",
    channel: Annotated[Channel, ShownIf("features", "intensity")] = None,
    merge: bool = False,
    merge_threshold: Annotated[float, Range(0, 1000, step=1), ShownIf("merge", True)] = 10.0,
    texture_weight: Annotated[float, Range(0, 100, step=0.5), ShownIf("merge", True)] = 1.0,
    texture_radius: Annotated[float, Range(1, 50, unit="px"), ShownIf("merge", True)] = 3.0,
    slic_zero: Annotated[bool, Title("Adapt compactness"), Advanced()] = False,
    max_num_iter: Annotated[int, Range(1, 100), Title("Iterations"), Advanced()] = 10,
    spacing: Spacing = None,
    channel_axis: ChannelAxis = None,
) -> Job[Labels]:
    """Cut the image into small regions of similar colour (SLIC), and optionally merge those that are alike.

    Parameters
    ----------
    image : array
        (Y, X) or (Z, Y, X), any numeric dtype, with the channels at `channel_axis`.
    n_segments : int
        Approximate number of superpixels, before any are merged.
    compactness : float
        Weight of the distance in space against the difference in colour: higher makes squarer superpixels, lower ones
        follow edges more closely. The range of the image's intensities counts as 100, as lightness does in CIELAB.
    sigma : float
        Standard deviation of a Gaussian that smooths the image first, in pixels along X; 0 does not smooth.
    features : str
        What is compared. "cielab": lightness and two colour axes, of the first three channels as red, green and blue.
        "channels": the values of all channels. "intensity": one grey value, see `channel`. "auto" takes CIELAB with
        three or four channels, otherwise all channels.
    channel : int, optional
        Channel to use as intensity, from 0; empty takes all together: luminance for three or four channels, otherwise
        their mean.
    merge : bool
        Merge neighbouring superpixels into regions, the most similar ones first.
    merge_threshold : float
        Regions are merged while their mean colour and texture differ by less than this, in units of `compactness`'
        range: 100 is the difference between the darkest and the brightest grey.
    texture_weight : float
        Weight of the difference in texture against the difference in colour; 0 compares colour alone.
    texture_radius : float
        Texture is the standard deviation of the values in a window that reaches this far from a pixel, in pixels along
        X.
    slic_zero : bool
        Adapt the compactness of each superpixel to its own contrast (SLICO); `compactness` is then only the start.
    max_num_iter : int
        Iterations of the k-means in SLIC.
    spacing : tuple of float, optional
        Size of a pixel along each axis; distances in space, smoothing and windows follow it.
    channel_axis : int, optional
        Axis of `image` that holds channels, or None. If not given, it is the last one of what looks like colours: of
        length 3 or 4, in an image that is 8-bit or larger than 30×30.

    Returns
    -------
    array of int32
        The image's spatial shape. Regions are 1…N in raster order of their first pixel; no pixel is 0.

    Raises
    ------
    InputError
        If "cielab" is asked for and the image does not have three or four channels.
    ParameterError
        If the image does not have the channel.

    Notes
    -----
    SLIC is k-means on colour and place, each cluster searched only around its centre; parts that are cut off go to a
    neighbour. The computation is scikit-image's, and runs in a process of its own, except for very small images.

    Regions are merged on the graph of neighbours: the two with the most similar features become one with the mean of
    their pixels, until no two neighbours differ by less than `merge_threshold`. Texture is averaged over the channels.

    References
    ----------
    Achanta R. et al. (2012), SLIC superpixels compared to state-of-the-art superpixel methods,
    doi:10.1109/TPAMI.2012.120.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_tessera as tessera
    >>> image = np.zeros((4, 6), np.uint8)
    >>> image[:, 3:] = 200
    >>> tessera.superpixels(image, n_segments=6, merge=True, texture_weight=0)
    array([[1, 1, 1, 2, 2, 2],
           [1, 1, 1, 2, 2, 2],
           [1, 1, 1, 2, 2, 2],
           [1, 1, 1, 2, 2, 2]], dtype=int32)
    """
    used, is_lab = _used_channels(image, features, channel, channel_axis)
    values = yield from subtask(_share_of_range(used), 0, 1, 10)
    sizes = np.array(spacing or (1.0,) * (values.ndim - 1))
    slic = {"compactness": compactness, "sigma": sigma, "slic_zero": slic_zero, "max_num_iter": max_num_iter}
    merging = {"threshold": merge_threshold, "weight": texture_weight, "radius": texture_radius} if merge else None
    find = partial(
        _regions, n_segments=n_segments, is_lab=is_lab, spacing=sizes / sizes[-1], slic=slic, merging=merging
    )
    if values.size < SMALL_VALUES:
        yield Progress(1, 10, "Finding superpixels")
        return find(values)
    return (yield from subtask(run_in_child(_regions, values, text="Finding superpixels", **find.keywords), 1, 9, 10))


def _used_channels(
    image: np.ndarray, features: str, channel: int | None, channel_axis: int | None
) -> tuple[np.ndarray, bool]:
    """Return the channels to compare, (Y, X, C) or (Z, Y, X, C), and whether they are red, green and blue."""
    from napari_tessera.algorithms.color import to_grey

    n_channels = 1 if channel_axis is None else image.shape[channel_axis]
    is_colour = n_channels in COLOUR_CHANNELS
    if features == "cielab" and not is_colour:
        raise InputError(
            f'superpixels: `features` is "cielab", which needs red, green and blue, but the image has {n_channels} '
            'channel(s). Use "channels" or "intensity".'
        )
    if channel_axis is None or features == "intensity":
        return to_grey(image, channel_axis, channel if features == "intensity" else None, "superpixels")[
            ..., None
        ], False
    channels = np.moveaxis(image, channel_axis, -1)
    is_lab = is_colour and features != "channels"
    return channels[..., :3] if is_lab else channels, is_lab


def _share_of_range(channels: np.ndarray) -> Job[np.ndarray]:
    """Return where each value lies in the range of all, 0 to 1, as float32."""
    low, high = yield from value_range(channels)
    refuse_tiny(low, high)
    values = np.zeros(channels.shape, np.float32)
    if high == low:
        return values

    def bring(piece: Piece) -> None:
        values[piece] = share_of_range(channels[piece], low, high)

    yield from in_threads(bring, pieces(channels.shape[:-1]), "Finding range")
    return values


def _regions(
    values: np.ndarray,
    *,
    n_segments: int,
    is_lab: bool,
    spacing: np.ndarray,
    slic: dict[str, Any],
    merging: dict[str, float] | None,
) -> np.ndarray:
    """Find superpixels of values from 0 to 1, (Y, X, C) or (Z, Y, X, C), and merge them where that is asked for."""
    from skimage import color, segmentation

    features = color.rgb2lab(values) if is_lab else values * np.float32(FULL_RANGE)
    unit = 1.0 if is_lab else FULL_RANGE  # scikit-image compares other values as shares of their range
    slic = {**slic, "compactness": slic["compactness"] / unit}
    labels = segmentation.slic(
        values, n_segments=n_segments, spacing=spacing, convert2lab=is_lab, channel_axis=-1, start_label=1, **slic
    )
    if merging is not None:
        labels = _merged(labels, features, spacing, **merging)
    return renumber(labels.astype(np.int32))


def _merged(
    labels: np.ndarray, features: np.ndarray, spacing: np.ndarray, threshold: float, weight: float, radius: float
) -> np.ndarray:
    """Merge neighbouring superpixels, the most similar ones first, until they differ by `threshold` or more."""
    from skimage import graph

    described = np.concatenate([features, weight * _texture(features, radius / spacing)], axis=-1)
    pixels = np.bincount(labels.ravel())
    sums = [np.bincount(labels.ravel(), each.ravel()) for each in np.moveaxis(described, -1, 0)]
    means = np.stack(sums, axis=-1) / np.maximum(pixels, 1)[:, None]
    regions = graph.RAG()
    for label in np.flatnonzero(pixels):
        regions.add_node(label, labels=[label], pixels=pixels[label], mean=means[label])
    for one, other in _neighbours(labels):
        regions.add_edge(one, other, weight=np.linalg.norm(means[one] - means[other]))
    return 1 + graph.merge_hierarchical(
        labels, regions, threshold, rag_copy=False, in_place_merge=True, merge_func=_join, weight_func=_difference
    )


def _texture(features: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Return the standard deviation around each pixel, averaged over the channels, (Y, X, 1) or (Z, Y, X, 1)."""
    from scipy import ndimage

    sides = (*(2 * int(radius + 0.5) + 1 for radius in radii), 1)
    centred = features - features.mean(axis=tuple(range(features.ndim - 1)))
    variance = ndimage.uniform_filter(centred**2, sides) - ndimage.uniform_filter(centred, sides) ** 2
    return np.sqrt(np.maximum(variance, 0)).mean(axis=-1, keepdims=True)


def _neighbours(labels: np.ndarray) -> np.ndarray:
    """Return the pairs of labels whose pixels share a side, each once, (N, 2)."""
    pairs = []
    for axis in range(labels.ndim):
        here, there = np.moveaxis(labels, axis, 0)[:-1], np.moveaxis(labels, axis, 0)[1:]
        differ = here != there
        pairs.append(np.sort(np.stack([here[differ], there[differ]], axis=-1), axis=-1))
    return np.unique(np.concatenate(pairs), axis=0)


def _join(regions: Any, one: int, other: int) -> None:
    """Give the region that stays the pixels of both, and their mean."""
    gone, kept = regions.nodes[one], regions.nodes[other]
    total = gone["pixels"] + kept["pixels"]
    kept["mean"] = (gone["pixels"] * gone["mean"] + kept["pixels"] * kept["mean"]) / total
    kept["pixels"] = total


def _difference(regions: Any, one: int, kept: int, neighbour: int) -> dict[str, float]:
    return {"weight": float(np.linalg.norm(regions.nodes[kept]["mean"] - regions.nodes[neighbour]["mean"]))}


METHOD = Method(superpixels, "Superpixels", look_first=("n_segments", "compactness"))

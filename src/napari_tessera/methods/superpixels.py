"""Superpixels: small connected regions of similar colour (SLIC), which may be merged into larger ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np

from napari_tessera.core.child_process import run_in_child
from napari_tessera.core.jobs import Job, Progress, in_background, subtask
from napari_tessera.core.labels import renumbering
from napari_tessera.core.method import Method
from napari_tessera.core.rescale import refuse_tiny, value_range
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
    Valid,
)

FULL_RANGE = 100.0
"""The image's range of intensities, in the unit of lightness in CIELAB."""
SMALL_VALUES = 2**13
"""An image of fewer values takes less time than a new process."""
CHILD_SECONDS, SECONDS_PER_PIXEL, MOST_EXPECTED = 1.5, 1e-7, 0.95
"""Usual time to start the process, and of an iteration for a pixel; and the share of both up to which progress goes."""
TEXT = "Finding superpixels"

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
    valid: Valid = None,
) -> Job[Labels]:
    """Cut the image into small regions of similar colour (SLIC), and optionally merge those that are alike.

    Parameters
    ----------
    image : array
        (Y, X) or (Z, Y, X), of any number type, with the channels at `channel_axis`.
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
    valid : array of bool, optional
        Where the image is, of its spatial shape; what is outside is left out. None means everywhere.

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
    from napari_tessera.algorithms.pixel_features import fractions
    from napari_tessera.core.checks import COLOUR_CHANNELS, channels_of

    if features == "auto":
        is_colour = channel_axis is not None and image.shape[channel_axis] in COLOUR_CHANNELS
        features = "cielab" if is_colour else "channels"
    used, is_lab = channels_of(image, features, channel, channel_axis, "superpixels"), features == "cielab"
    low, high = yield from subtask(value_range(used), 0, 0.5, 10)
    refuse_tiny(low, high)
    values = yield from subtask(fractions(used, low, high), 0.5, 0.5, 10)
    sizes = np.array(spacing or (1.0,) * (values.ndim - 1))
    sizes /= sizes[-1]
    unit = 1.0 if is_lab else FULL_RANGE  # scikit-image compares other values as shares of their range
    if valid is not None:  # so many in the image, not in what it was filled with
        n_segments = max(1, round(n_segments / max(float(valid.mean()), 1 / n_segments)))
    finding = _superpixels(
        values, n_segments=n_segments, compactness=compactness / unit, sigma=sigma, spacing=sizes, convert2lab=is_lab,
        slic_zero=slic_zero, max_num_iter=max_num_iter,
    )  # fmt: skip
    labels = yield from subtask(finding, 1, 5, 10)
    if merge:
        described = partial(_described, labels, values, is_lab, texture_weight, texture_radius / sizes)
        merging = _merged(labels, described, merge_threshold)
        yield from subtask(merging, 6, 3, 10)
    return (yield from subtask(renumbering(labels), 9, 1, 10))[0]


def _superpixels(values: np.ndarray, **settings: Any) -> Job[np.ndarray]:
    """Find superpixels; larger images in a child process, with the usual time as progress."""
    if values.size < SMALL_VALUES:
        yield Progress(0, 1, TEXT)
        return _slic(values, **settings)
    expected = CHILD_SECONDS + SECONDS_PER_PIXEL * values[..., 0].size * settings["max_num_iter"]
    begin = time.monotonic()
    with closing(run_in_child(_slic, values, text=TEXT, **settings)) as finding:
        while True:
            try:
                next(finding)
            except StopIteration as end:
                return end.value
            yield Progress(min(time.monotonic() - begin, MOST_EXPECTED * expected), expected, TEXT)


def _slic(values: np.ndarray, **settings: Any) -> np.ndarray:
    from skimage import segmentation

    labels: np.ndarray = segmentation.slic(values, channel_axis=-1, start_label=1, **settings)
    return labels


def _merged(
    labels: np.ndarray, described: Callable[[], tuple[np.ndarray, np.ndarray, np.ndarray]], threshold: float
) -> Job[None]:
    """Merge neighbouring superpixels, in place, the most similar ones first, until they differ by `threshold`."""
    from napari_tessera.algorithms.label_morphology import merge_similar
    from napari_tessera.algorithms.relabel import map_numbers

    pairs, pixels, means = yield from subtask(in_background(described, "Comparing superpixels"), 0, 6, 10)
    merging = in_background(partial(merge_similar, pairs, pixels, means, threshold), "Merging superpixels")
    owners = yield from subtask(merging, 6, 3, 10)
    yield from subtask(map_numbers(labels, owners, labels, "Merging superpixels"), 9, 1, 10)


def _described(
    labels: np.ndarray, values: np.ndarray, is_lab: bool, weight: float, radii: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs of neighbouring superpixels, and the pixels and the mean colour and texture of each."""
    from skimage import color

    features = color.rgb2lab(values) if is_lab else values * np.float32(FULL_RANGE)
    described = np.concatenate([features, weight * _texture(features, radii)], axis=-1)
    pixels = np.bincount(labels.ravel())
    sums = [np.bincount(labels.ravel(), each.ravel()) for each in np.moveaxis(described, -1, 0)]
    return _neighbours(labels), pixels, np.stack(sums, axis=-1) / np.maximum(pixels, 1)[:, None]


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


METHOD = Method(superpixels, "Superpixels", look_first=("n_segments", "compactness"))

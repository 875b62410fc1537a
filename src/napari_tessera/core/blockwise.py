"""Block-wise methods: two passes (measure the image, then label each pixel), or a plan for overlapping blocks.

The measurement of an image is the exact sum of the measurements of its blocks, so the labels do not depend on the
blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np

from napari_tessera.core.jobs import Job, Piece, Progress, in_threads, pieces, subtask
from napari_tessera.core.labels import connected_components, renumber
from napari_tessera.core.rescale import UNSCALED, Scale, scale_of, value_range
from napari_tessera.core.result import AutoValues, MethodOutput
from napari_tessera.core.tiles import place_in, widened

MEASURED_PX = 2**21
"""Pixels in one summary."""
Settings = dict[str, Any]
"""All keyword arguments of the method, with `spacing`, `channel_axis` and, of what the array holds, `valid`."""


@dataclass(frozen=True)
class Touching:
    """How neighbouring pixels of classes are joined to objects."""

    regions: Callable[..., np.ndarray]
    """(classes, **settings) -> array: neighbouring pixels of the same non-zero value are one object."""
    numbers: Callable[..., np.ndarray]
    """(sizes, highest, **settings) -> (N + 1,) array: final number of each object in their order, or 0 to drop it.
    `sizes` are their pixels and `highest` the highest class in each, both with an unused entry 0 for background."""


def never(dtype: np.dtype, **_: Any) -> bool:
    """Return False."""
    return False


@dataclass(frozen=True)
class TwoPass:
    """The parts of a two-pass method. Each takes the settings as keywords, and ignores those that it does not need."""

    reach: Callable[..., int]
    """(**settings) -> how far away, in pixels, the image can change a label once the whole image is measured. A block
    is prepared with a halo of this width; `summarise` gets it without the halo, `apply` with it."""
    prepare: Callable[..., Job[np.ndarray]]
    """(image, **settings) -> the array for the other parts: spatial axes first, then features if any. It raises errors
    about the image."""
    rounds: Callable[..., int]
    """(prepared, **settings) -> how often all blocks are summarised; any block gives the same answer."""
    summarise: Callable[..., Any]
    """(prepared, start, earlier, **settings) -> summary of one block. `start` is the position of its first pixel in the
    whole image; `earlier` is the merged summary of the previous round, or None."""
    merge: Callable[[Any, Any], Any]
    """(summary, summary) -> summary; exact, so that the order of merging does not matter."""
    fit: Callable[..., Job[dict[str, Any]]]
    """(summary or None, **settings) -> what every block needs to know: small, plain JSON."""
    apply: Callable[..., np.ndarray]
    """(prepared, core, start, fitted, **settings) -> uint8 class of each pixel of `prepared[core]`, whose first pixel
    is at `start` in the whole image."""
    touching: Callable[..., Touching | None]
    """(**settings) -> how classes become objects; None if the classes are the labels."""
    piece_px: Callable[..., int]
    """(spatial axes, **settings) -> how many pixels can be labelled within about 50 ms."""
    chosen: Callable[..., AutoValues] = lambda *_, **__: {}
    """(fitted, **settings) -> the automatic values to show; see `MethodOutput`."""
    notes: Callable[..., tuple[str, ...]] = lambda *_, **__: ()
    """(fitted, **settings) -> what is to be said about the measurement, in sentences."""
    needs_scale: Callable[..., bool] = never
    """(dtype, **settings) -> whether the range of all values must be known first, because float32 cannot hold values of
    this dtype. All parts then get the setting `scale`: an origin and a unit for float32."""


def run_whole(method: TwoPass, image: np.ndarray, /, **settings: Any) -> Job[MethodOutput]:
    """Run a method on an image in memory, (Y, X) or (Z, Y, X), with channels at `channel_axis`.

    Labels are int32 with the image's spatial shape; int64 where there are more than 2³¹ objects.
    """
    ndim = image.ndim - (settings["channel_axis"] is not None)
    settings["scale"] = yield from scale_whole(method, image, **settings)
    prepared = yield from subtask(method.prepare(image, **settings), 0, 1, 4)
    fitted = yield from subtask(fit_whole(method, prepared, ndim, **settings), 1, 1, 4)
    classes = yield from subtask(apply_whole(method, prepared, ndim, fitted, **settings), 2, 1, 4)
    touching = method.touching(**settings)
    making = _as_labels(classes) if touching is None else join_whole(touching, classes, **settings)
    labels = yield from subtask(making, 3, 1, 4)
    return MethodOutput(labels, notes=method.notes(fitted, **settings), chosen=method.chosen(fitted, **settings))


def scale_whole(method: TwoPass, image: np.ndarray, /, **settings: Any) -> Job[Scale]:
    """Return the origin and the unit for the image's values."""
    if not method.needs_scale(image.dtype, **settings):
        return UNSCALED
    return scale_of(*(yield from value_range(image)))


def fit_whole(method: TwoPass, prepared: np.ndarray, ndim: int, /, **settings: Any) -> Job[dict[str, Any]]:
    """Measure a prepared image of `ndim` spatial axes, in as many rounds as the method needs."""
    summary = None
    cut = pieces(prepared.shape[:ndim], MEASURED_PX)
    for _ in range(method.rounds(prepared, **settings)):
        earlier = summary

        def summarise(piece: Piece, earlier: Any = earlier) -> Any:
            return method.summarise(prepared[piece], _start(piece), earlier, **within(settings, piece))

        summaries = yield from in_threads(summarise, cut, "Measuring")
        summary = yield from _merged(method, summaries)
    return (yield from method.fit(summary, **settings))


def apply_whole(
    method: TwoPass, prepared: np.ndarray, ndim: int, fitted: dict[str, Any], /, **settings: Any
) -> Job[np.ndarray]:
    """Return the class of each pixel of a prepared image of `ndim` spatial axes, (Y, X) or (Z, Y, X) uint8."""
    shape = prepared.shape[:ndim]
    classes = np.empty(shape, np.uint8)
    reach = method.reach(**settings)

    def apply(piece: Piece) -> None:
        wide = widened(piece, (reach,) * ndim, shape)
        core = place_in(piece, wide)
        classes[piece] = method.apply(prepared[wide], core, _start(piece), fitted, **within(settings, wide))

    yield from in_threads(apply, pieces(shape, method.piece_px(ndim, **settings)), "Labelling pixels")
    return classes


def within(settings: Settings, window: Piece) -> Settings:
    """Return the settings for a window: `valid` is cut to it."""
    valid = settings.get("valid")
    return settings if valid is None else {**settings, "valid": valid[window]}


def join_whole(touching: Touching, classes: np.ndarray, /, **settings: Any) -> Job[np.ndarray]:
    """Join classes to objects: connected regions, some of which `touching` drops."""
    regions = touching.regions(classes, **settings)
    labels = yield from components_of_equal(regions, settings["connectivity"])
    cut = pieces(labels.shape)
    count = 1 + max((yield from in_threads(lambda piece: int(labels[piece].max()), cut, "Counting objects")))
    sizes, highest = yield from _size_and_highest(labels, classes, count)
    numbers = touching.numbers(sizes, highest, **settings).astype(labels.dtype)

    def number(piece: Piece) -> None:
        labels[piece] = numbers[labels[piece]]

    yield from in_threads(number, cut, "Numbering objects")
    return labels


def components_of_equal(regions: np.ndarray, connectivity: int) -> Job[np.ndarray]:
    """Find the connected regions of equal non-zero value, numbered from 1 in raster order of their first pixel."""
    highest = max(1, int(regions.max()))
    yield Progress(0, highest, "Finding objects")
    labels = connected_components(regions == 1, connectivity)
    for value in range(2, highest + 1):
        yield Progress(value - 1, highest, "Finding objects")
        count = labels.max()
        part = connected_components(regions == value, connectivity)
        yield Progress(value - 0.5, highest, "Finding objects")
        np.add(labels, part + count, out=labels, where=part > 0)
    yield Progress(highest, highest, "Finding objects")
    return renumber(labels) if highest > 1 else labels


def _start(piece: Piece) -> tuple[int, ...]:
    return tuple(part.start for part in piece)


def _as_labels(classes: np.ndarray) -> Job[np.ndarray]:
    labels = np.empty(classes.shape, np.int32)

    def copy(piece: Piece) -> None:
        labels[piece] = classes[piece]

    yield from in_threads(copy, pieces(labels.shape), "Writing labels")
    return labels


def _merged(method: TwoPass, summaries: list[Any]) -> Job[Any]:
    """Merge neighbours until one summary is left."""
    while len(summaries) > 1:
        pairs = [summaries[at : at + 2] for at in range(0, len(summaries), 2)]
        summaries = yield from in_threads(
            lambda pair: method.merge(*pair) if len(pair) == 2 else pair[0], pairs, "Merging measures"
        )
    return summaries[0]


def _size_and_highest(labels: np.ndarray, classes: np.ndarray, count: int) -> Job[tuple[np.ndarray, np.ndarray]]:
    """Return the pixels of each label and its highest class; (count,) each."""
    sizes, highest = np.zeros(count, np.int64), np.zeros(count, np.uint8)
    for piece in pieces(labels.shape):
        yield Progress(0, 1, "Measuring objects")
        here, classes_here = labels[piece].reshape(-1), classes[piece].reshape(-1)
        sizes += np.bincount(here, minlength=count)
        np.maximum.at(highest, here, classes_here)
    return sizes, highest


class Stored(Protocol):
    """One frame of an image that is read window by window: spatial axes first, then channels if any."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""

    def __getitem__(self, window: Any, /) -> np.ndarray:
        """Read a window: a slice for each axis in space."""

    def valid(self, window: Any, /) -> np.ndarray | None:
        """Return where a window is image, with its shape in space; None if all of it is."""


@dataclass(frozen=True)
class BlockPlan:
    """How the blocks of one image are labelled, after the whole image was examined."""

    label: Callable[..., Any]
    """(block, **other inputs) -> job of what a method may return. It holds all that blocks share, and is
    pickled for remote workers."""
    reach: tuple[int, ...]
    """Width of the margin around a block along each spatial axis: wide enough for an object that the block cuts, and
    for what decides its outline."""
    parts: Callable[[tuple[int, ...]], tuple[int, ...]] | None = None
    """Number of parts along each axis into which a block of these sides is cut to save memory."""
    aligned: Callable[[Any], Any] | None = None
    """Widens what a `Tile` reads, if a tile must begin and end at certain pixels."""
    told: Callable[[Any], Mapping[str, Any]] | None = None
    """Further arguments of `label` for a `Tile`."""
    is_threaded: bool = False
    """One block uses all cores, so that blocks are processed one at a time."""
    smallest_px: int = 0
    """Objects with fewer pixels are dropped after joining."""
    notes: tuple[str, ...] = ()
    chosen: AutoValues = field(default_factory=dict)
    notes_on_blocks: Callable[[list[AutoValues]], tuple[str, ...]] | None = None
    """Makes notes of what `label` returns for each block as `MethodOutput.chosen`."""


@dataclass(frozen=True)
class Overlapping:
    """A method that examines the whole image before it labels overlapping blocks."""

    measured: tuple[TwoPass, Settings] | None
    """What is measured over all blocks, and with which settings; only the first pass is used."""
    plan: Callable[[Mapping[str, Any], Stored], Job[BlockPlan]]
    """Makes the plan from the measurement (an empty dict without one) and, if needed, from windows of the image."""


def from_parts(
    function: Callable[..., Any],
    reach: Callable[..., int] | None,
    measured: tuple[TwoPass, Settings, Callable[[dict[str, Any]], Settings]] | None,
    settings: Mapping[str, Any],
) -> Overlapping:
    """Describe a method that needs at most one measurement of the whole image, and adds it to its settings."""

    def plan(fitted: Mapping[str, Any], image: Stored) -> Job[BlockPlan]:
        yield from ()
        fixed = dict(settings) if measured is None else measured[2](dict(fitted))
        n_space = len(image.shape) - (settings["channel_axis"] is not None)
        notes = () if measured is None else measured[0].notes(fitted, **measured[1])
        return BlockPlan(
            partial(function, **fixed), (0 if reach is None else reach(**settings),) * n_space, notes=notes
        )

    return Overlapping(measured and measured[:2], plan)

"""Suggest a model: try models on some windows of an image, and estimate how many of the objects found are right.

Without a truth, a model is asked several times: for the same windows mirrored, at other scales and brightness. Objects
that are there are found again with the same outlines; what a model only imagines changes. How many objects agree is
turned into the share that is likely right, as learnt from images with a truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_tessera.core.checks import as_array, refuse_file_name
from napari_tessera.core.errors import InputError, ModelError, ParameterError, RunError, short
from napari_tessera.core.jobs import Job, Progress, middle, run_job, subtask
from napari_tessera.core.overlaps import find_overlaps
from napari_tessera.core.spatial import CHANNEL, Layout, check_axes
from napari_tessera.models import registry as catalogue

if TYPE_CHECKING:
    from napari_tessera.core.tiles import Slices
    from napari_tessera.inference.normalization import Levels
    from napari_tessera.inference.pixel_grid import NormalizedImage
    from napari_tessera.inference.scale_search import Scale
    from napari_tessera.models.registry import ModelEntry

    Outline = Callable[[NormalizedImage, Scale[Any]], Job[np.ndarray]]
    """Segments a plane or volume at a scale with one network."""

Index = tuple[int | slice, ...]
NETWORKS = ("unet", "mask_rcnn")
LARGEST_PX = {2: (4096, 4096), 3: (64, 512, 512)}
"""Of a larger plane or volume, the middle is looked at."""
WHOLE_PX, WINDOW_PX = {2: 400**2, 3: 96**3}, {2: 256, 3: 64}
"""Up to this size, in network pixels, the whole image is compared; of a larger one some windows of this side."""
WEIGHTS = (-2.44, 4.82)
"""Of 1 and of the agreement: the logarithm of the odds that an object is right, by logistic regression on 39 pairs of a
model and an image of `val` (mean error 0.11), see tests/benchmarks/bench_suggest_model.py --fit. How likely the objects
are by the model's own scoring tells nothing more."""
FOREIGN_SHARE = 0.35
"""Share of it that is left where the objects look foreign to the model, since patterns agree with themselves, too."""
LEAST_CONFIDENCE = 0.35
"""Below it, a model does not fit."""
CHANGES = ((1.15, (-1,), 1.0), (1 / 1.15, (-2,), 0.8), (1.0, (-2, -1), 1.25))
"""How the windows are changed: magnification, axes that are mirrored, and brightness of the brightest objects."""
Change = tuple[float, tuple[int, ...], float]
IOUS = (0.5, 0.7, 0.9)
UNKNOWN_OBJECTS = 1
"""Added to the objects that change: one object that stays the same does not prove much."""


@dataclass(frozen=True)
class ModelSuggestion:
    """How well a model fits an image.

    Attributes
    ----------
    model : str
        Its name, as methods take it.
    title : str
    network : "unet" or "mask_rcnn"
        The method that runs it.
    confidence : float
        0 to 1: expected share of right objects among all that are found or missed (AP at an IoU of 0.5).
    n_objects : int
        How many it found in the windows that were looked at.
    agreement : float
        Share of the objects that stay the same when the windows are changed (see `suggest_model`): mean AP at an IoU of
        0.5, 0.7 and 0.9.
    is_foreign : bool
        Whether the objects do not look like those of the model's training, as far as the model knows these.
    diameter_px : float or None
        Estimated diameter of an object, in pixels along X; None for a model that knows no size.
    crop : tuple of int and slice
        The part of the image that `labels` show, the same for all models: ``image[crop]``.
    labels : (Y, X) array
        The objects in that part.
    """

    model: str
    title: str
    network: Literal["unet", "mask_rcnn"]
    confidence: float
    n_objects: int
    agreement: float
    is_foreign: bool
    diameter_px: float | None
    crop: Index = field(repr=False)
    labels: np.ndarray = field(repr=False)

    @property
    def fits(self) -> bool:
        """Whether the model is worth a try."""
        return self.confidence >= LEAST_CONFIDENCE


def verdict(suggestions: Sequence[ModelSuggestion]) -> str:
    """Return in a sentence or two which model fits best, or that none does."""
    if not suggestions:
        return "None of the models takes such images."
    best = suggestions[0]
    if not best.fits:
        return (
            "None of the models fits: what they find is mostly unsure, or nothing. Train one on a few objects that you "
            "paint, or crop the image to what you look for and try again."
        )
    name = best.title if best.title.casefold() == best.model.casefold() else f"{best.title} ({best.model})"
    return f"{name} fits best: about {best.confidence:.0%} of the objects are likely right."


def suggest_model(
    image: Any,
    *,
    axes: str | None = None,
    spacing: float | Sequence[float] | Mapping[str, float] | None = None,
    channel: int | None = None,
    network: str | None = None,
    device: str = "auto",
    progress: Callable[[Progress], None] | None = None,
) -> list[ModelSuggestion]:
    """Try the models that find objects on some windows of an image, and order them by how well they fit.

    Parameters
    ----------
    image : array
        NumPy, dask or zarr array. Of axes other than Z, Y, X and channels, such as time, the middle is looked at; of a
        plane larger than 4096 × 4096 pixels, or a volume larger than 64 × 512 × 512, too.
    axes, spacing : optional
        As for `segment`.
    channel : int, optional
        As for `unet`.
    network : "unet" or "mask_rcnn", optional
        Try models of this kind only.
    device : str
        As for `unet`.
    progress : function, optional
        Called with a `Progress` after each step. An exception that it raises cancels.

    Returns
    -------
    list of ModelSuggestion
        The best first; models for other images, such as volumes, are left out. If the first one does not fit
        (`fits` is False), none does: train one.

    Raises
    ------
    ParameterError, InputError
        If there is no such network, channel or device, or the image cannot be used.

    Notes
    -----
    Each window is segmented once more mirrored, 15 % larger and smaller, and brighter and darker. The objects that keep
    their outlines are counted (AP of one result against the other, as among true and found objects in `evaluate`), and
    the confidence is a logistic regression on this agreement, fitted on images with a truth; it is lowered where the
    objects do not look like those of the model's training. Agreement under such changes tells how reliable a
    segmentation is: Wang G. et al. (2019), doi:10.1016/j.neucom.2019.01.103.

    Examples
    --------
    >>> import napari_tessera as tessera
    >>> image, *_ = tessera.sample_data.nuclei_2d()
    >>> best, *others = tessera.suggest_model(image, network="unet")
    >>> best.fits, best.network
    (True, 'unet')
    """
    steps = suggest_steps(image, axes=axes, spacing=spacing, channel=channel, network=network, device=device)
    return run_job(steps, progress)


def suggest_steps(
    image: Any,
    *,
    axes: str | None = None,
    spacing: Any = None,
    channel: int | None = None,
    network: str | None = None,
    device: str = "auto",
    frame: Mapping[str, int] | None = None,
) -> Job[list[ModelSuggestion]]:
    """Return `suggest_model` as a job; `frame` is the index along axes other than Z, Y, X and channels."""
    from napari_tessera.engine.bind import bind, is_stored
    from napari_tessera.engine.run import prepared_arguments

    network = network.replace("-", "_") if isinstance(network, str) else network
    if network not in (None, *NETWORKS):
        raise ParameterError(f"`network` is {short(network)}, but it must be one of {', '.join(NETWORKS)}.", "network")
    refuse_file_name(image, "`image`", "read_image")
    if not is_stored(image) and not np.ma.isMaskedArray(image):
        image = as_array(image, "`image`")
    layout = check_axes(axes, image.shape, image.dtype)
    entries = [each for each in catalogue.list_models() if not each.error and each.task == "objects"]
    networks = NETWORKS if network is None else (network,)
    entries = [each for each in entries if each.kind in networks and each.ndim <= len(layout.space)]
    place = _place(layout, image.shape, frame or {})
    yield Progress(0, 1, "Reading the image")
    if not entries:
        return []
    settings = {"spacing": spacing, "channel": channel, "device": device, "model": str(entries[0].path)}
    part_axes = "".join(axis for axis in layout.axes if axis not in layout.loops)
    request = bind(entries[0].kind, image[place], axes=part_axes, measure=False, **settings)
    arguments, valid, _ = yield from subtask(prepared_arguments(request), 0, 1, 20)
    arguments["valid"] = valid
    trials = yield from subtask(_tried(entries, arguments), 1, 17, 20)
    if not trials:
        return []
    return (yield from subtask(_shown(trials, layout, place), 18, 2, 20))


def _place(layout: Layout, shape: Sequence[int], frame: Mapping[str, int]) -> Index:
    """Return what is looked at: one index along axes such as time, and the middle of what is large."""
    sizes = dict(zip(layout.axes, shape, strict=True))
    inner = middle(tuple(sizes[axis] for axis in layout.space), LARGEST_PX[len(layout.space)])
    found: dict[str, int | slice] = {axis: frame.get(axis, sizes[axis] // 2) for axis in layout.loops}
    found |= dict(zip(layout.space, inner, strict=True)) | {CHANNEL: slice(None)}
    return tuple(found[axis] for axis in layout.axes)


@dataclass(frozen=True)
class Trial:
    """What a model found in some windows, and how far it agrees with itself."""

    entry: ModelEntry
    view: NormalizedImage
    scale: Scale[Any]
    outline: Outline
    places: Sequence[Slices]
    found: Sequence[np.ndarray]  # labels of each place
    agreement: float  # mean AP of the labels with and without a change

    @property
    def n_objects(self) -> int:
        """How many objects were found in all windows."""
        return sum(len(np.unique(labels[labels > 0])) for labels in self.found)

    @property
    def confidence(self) -> float:
        """The expected AP at an IoU of 0.5."""
        if not self.n_objects:
            return 0.0
        odds = np.dot(WEIGHTS, (1, self.agreement))
        likely = 1 / (1 + exp(-float(odds)))
        return FOREIGN_SHARE * likely if self.is_foreign else likely

    @property
    def is_foreign(self) -> bool:
        """Whether the objects do not look like those of the training, as far as the model knows these."""
        return self.scale.likeness is not None and self.scale.likeness.is_foreign


def _tried(entries: Sequence[ModelEntry], arguments: Mapping[str, Any]) -> Job[list[Trial]]:
    """Try the models that take such images, the best first; if none can be run, raise why."""
    found, failure = [], None
    for done, entry in enumerate(entries):
        try:
            found.append((yield from subtask(try_model(entry, arguments), done, 1, len(entries))))
        except InputError:  # it takes other channels
            continue
        except (ModelError, RunError) as error:  # its file is damaged
            failure = error
    if failure is not None and not found:
        raise failure
    return sorted(found, key=lambda trial: trial.confidence, reverse=True)


def try_model(entry: ModelEntry, arguments: Mapping[str, Any]) -> Job[Trial]:
    """Try a model on an image, with the arguments of its method."""
    from napari_tessera.methods._network_checks import channels_for, viewed

    image, channel_axis = arguments["image"], arguments["channel_axis"]
    shown, has_channels = channels_for(entry, image, channel_axis, arguments["channel"], entry.kind)
    spacing = arguments["spacing"] or (1.0,) * (image.ndim - (channel_axis is not None))
    find_scale, outline = yield from subtask(_runner(entry, arguments["device"]), 0, 1, 20)
    view = yield from subtask(viewed(entry, shown, has_channels, spacing, "auto", arguments["valid"]), 1, 1, 20)
    scale = yield from subtask(find_scale(view), 2, 8, 20)

    from napari_tessera.inference.scale_search import full_places

    places = full_places(view, scale.factor, entry.ndim, WINDOW_PX[entry.ndim], WHOLE_PX[entry.ndim])
    found, agreement = yield from subtask(compare_changed(outline, view, scale, places, entry.ndim), 10, 10, 20)
    return Trial(entry, view, replace(scale, known=None, second=None), outline, places, found, agreement)


def _runner(entry: ModelEntry, device: str) -> Job[tuple[Callable[[NormalizedImage], Job[Scale[Any]]], Outline]]:
    """Load a model, and return how it finds the scale, and how it segments at a scale."""
    from napari_tessera.methods._network_checks import loaded, loaded_detector

    if entry.kind == "unet":
        network = yield from loaded(entry, device)

        from napari_tessera.inference.decode_unet import UNetOptions
        from napari_tessera.inference.scale_search import find_scale
        from napari_tessera.inference.segment_unet import segment_at

        plain = UNetOptions()
        return (
            lambda view: find_scale(network, view, plain),
            lambda view, scale: segment_at(scale, network, view, plain),
        )
    detector = yield from loaded_detector(entry, device)

    from napari_tessera.inference import segment_mask_rcnn
    from napari_tessera.inference.detections_to_labels import DetectionThresholds

    usual = segment_mask_rcnn.MaskRCNNOptions(thresholds=DetectionThresholds.of(entry.header))

    def outline(view: NormalizedImage, scale: Scale[Any]) -> Job[np.ndarray]:
        labels, _, _ = yield from segment_mask_rcnn.objects_at(scale, detector, view, usual)
        return labels

    return lambda view: segment_mask_rcnn.find_scale(detector, view, usual), outline


def compare_changed(
    outline: Outline, view: NormalizedImage, scale: Scale[Any], places: Sequence[Slices], ndim: int
) -> Job[tuple[list[np.ndarray], float]]:
    """Return the labels of each place, and the agreement with those after the changes, of all places together."""
    found, counts = [], np.zeros((len(CHANGES), len(IOUS), 2))
    total = len(places) * (1 + len(CHANGES))
    for number, place in enumerate(places):
        window, done = window_of(view, place, ndim), number * (1 + len(CHANGES))
        at_scale = scale if window.shape == view.shape else replace(scale, known=None, second=None)
        found.append((yield from subtask(outline(window, at_scale), done, 1, total)))
        for each, change in enumerate(CHANGES):
            comparing = _counts(outline, window, scale.factor, change, found[-1])
            counts[each] += yield from subtask(comparing, done + 1 + each, 1, total)
    return found, float(np.mean(counts[..., 0] / (counts[..., 1] + UNKNOWN_OBJECTS)))


def _counts(
    outline: Outline, window: NormalizedImage, factor: float, change: Change, labels: np.ndarray
) -> Job[np.ndarray]:
    """Return how many objects are the same after a change, and how many there are in both: (IOUS, 2)."""
    from napari_tessera.inference.scale_search import Scale
    from napari_tessera.metrics.matching import match

    times, mirrored, brightness = change
    axes = tuple(axis % window.ndim for axis in mirrored)
    image = np.ascontiguousarray(np.flip(np.asarray(window.image), axes))
    changed = replace(window, image=image, levels=_brighter(window.levels, brightness))
    other = yield from subtask(outline(changed, Scale(factor * times)), 0, 9, 10)
    overlaps = yield from subtask(find_overlaps(labels, np.ascontiguousarray(np.flip(other, axes))), 9, 1, 10)
    same = np.array([len(match(overlaps, iou)) for iou in IOUS])
    return np.stack([same, len(overlaps.truth) + len(overlaps.prediction) - same], axis=1)


def _brighter(levels: Levels, times: float) -> Levels:
    """Return the levels of an image whose bright objects are taken to be brighter than they are."""
    low, high = np.asarray(levels.low, np.float64), np.asarray(levels.high, np.float64)
    changed = low + (high - low) * times
    return replace(levels, high=tuple(changed.tolist()) if isinstance(levels.high, tuple) else float(changed))


def window_of(view: NormalizedImage, place: Slices, ndim: int) -> NormalizedImage:
    """Cut out a part, in memory; for a model for planes, one plane."""
    part = view.crop(place)
    return part.plane(0, 0) if ndim < part.ndim else part


def _shown(trials: Sequence[Trial], layout: Layout, place: Index) -> Job[list[ModelSuggestion]]:
    """Show what each model found in one part of the image: the first window of the best."""
    crop = trials[0].places[0]
    suggestions = []
    for done, trial in enumerate(trials):
        labels = yield from subtask(_labels_of(trial, crop), done, 1, len(trials))
        diameter_px = trial.entry.diameter_px
        suggestions.append(
            ModelSuggestion(
                trial.entry.name,
                trial.entry.title,
                "mask_rcnn" if trial.entry.kind == "mask_rcnn" else "unet",
                round(trial.confidence, 3),
                trial.n_objects,
                round(trial.agreement, 3),
                trial.is_foreign,
                None if diameter_px is None else round(diameter_px / trial.scale.factor, 1),
                _within(place, crop, layout),
                labels,
            )
        )
    return suggestions


def _labels_of(trial: Trial, crop: Slices) -> Job[np.ndarray]:
    """Return the labels of the plane in the middle of a part."""
    from napari_tessera.inference.scale_search import Scale

    if crop in trial.places:
        labels = trial.found[trial.places.index(crop)]
    else:
        thick = (_around(crop[0], trial), *crop[1:]) if len(crop) == 3 else crop
        labels = yield from trial.outline(window_of(trial.view, thick, trial.entry.ndim), Scale(trial.scale.factor))
    return labels[len(labels) // 2] if labels.ndim == 3 else labels


def _around(planes: slice, trial: Trial) -> slice:
    """Return as many planes around the middle one of some as the model needs."""
    z = (planes.start + planes.stop) // 2
    if trial.entry.ndim == 2:
        return slice(z, z + 1)
    depth = round(WINDOW_PX[3] / trial.view.factors(trial.scale.factor)[0])
    return slice(max(0, z - depth // 2), z + max(1, depth // 2))


def _within(place: Index, crop: Slices, layout: Layout) -> Index:
    """Return where the plane shown of a part lies in the image; `place` is what was looked at."""
    found = dict(zip(layout.axes, place, strict=True))
    for axis, part in zip(layout.space, crop, strict=True):
        whole = found[axis]
        start = whole.start if isinstance(whole, slice) else whole
        middle_z = start + (part.start + part.stop) // 2
        found[axis] = middle_z if axis == "Z" else slice(start + part.start, start + part.stop)
    return tuple(found[axis] for axis in layout.axes)

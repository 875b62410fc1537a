"""Sources of things and stuff for panoptic segmentation: layers, methods and models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_tessera.core.errors import InputError, ParameterError
from napari_tessera.core.jobs import Job, Progress, Result, subtask
from napari_tessera.core.labels import chunks, renumbering
from napari_tessera.core.result import MethodOutput

if TYPE_CHECKING:
    from napari_tessera.algorithms.panoptic_fusion import Stuff, Things


LARGEST_CLASS = 65_535
ON_HIDDEN = "; the column `hidden` says how much of each"
"""Part of a note of `mask_rcnn` that is left out, since the table of segments has no such column."""


@dataclass(frozen=True)
class ThingSource:
    """Where things come from; the fields are the parameters of `panoptic`."""

    kind: str
    layer: np.ndarray | None
    name: str
    mask_rcnn: str
    unet: str
    min_score: float | None
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class StuffSource:
    """Where stuff comes from; the fields are the parameters of `panoptic`."""

    kind: str
    layer: np.ndarray | None
    names: tuple[str, ...]
    unet: str
    n_classes: int
    sigma: float
    device: Literal["auto", "cpu", "cuda", "mps"]
    settings: Mapping[str, Any]


def given_names(text: str) -> tuple[str, ...]:
    """Read names that have commas between them.

    Raises
    ------
    ParameterError
        If one comes twice, or is that of the background.

    Examples
    --------
    >>> given_names("cytoplasm, matrix")
    ('cytoplasm', 'matrix')
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if len({"background", *names}) <= len(names):
        raise ParameterError(
            f"panoptic: `stuff_names` is {text!r}, but every class needs a name of its own, other than 'background'. "
            "Name the classes 1, 2, … with commas between.",
            "stuff_names",
        )
    return names


def thing_name(text: str) -> str:
    """Read the name of the class of things, not that of the background; an empty one is left to their source."""
    if text.strip() == "background":
        raise ParameterError(
            "panoptic: `things_name` is 'background', which is the class of what is neither thing nor stuff. Give the "
            "things another name.",
            "things_name",
        )
    return text.strip()


def check_names_fit(source: StuffSource) -> None:
    """Refuse more names than there are classes of stuff, where their number is known; a layer may lack some."""
    needed = {"threshold": 1, "kmeans": source.n_classes}.get(source.kind)
    if needed is not None and len(source.names) > needed:
        raise ParameterError(
            f"panoptic: `stuff_names` has {len(source.names)} names ({', '.join(source.names)}), but stuff from "
            f"{source.kind!r} needs at most {needed}: one for each class. Leave out the others, or choose another "
            "`stuff_from`.",
            "stuff_names",
        )


def started(job: Job[Result]) -> Job[Result]:
    """Run a job up to its first step, before which it checks what it was given, and return it."""
    next(job)
    return job


def find_things(image: np.ndarray, source: ThingSource) -> Job[tuple[Things, tuple[str, ...]]]:
    """Find the things, and return them with notes; an error about a missing layer comes before the first step."""
    finding = {"layer": _from_layer, "mask_rcnn": _from_mask_rcnn, "unet": _from_unet, "watershed": _from_watershed}
    things, notes = yield from finding[source.kind](image, source)
    if not len(things.classes):
        notes = (*notes, "No things were found, so that every pixel is stuff.")
    return things, notes


def _from_layer(_: np.ndarray, source: ThingSource) -> Job[tuple[Things, tuple[str, ...]]]:
    from napari_tessera.algorithms.panoptic_fusion import Things

    labels, old = yield from renumbering(_given(source.layer, "things", "each number one thing, 0 is none"))
    return Things(labels, np.zeros(len(old), np.int64), (source.name or "object",)), ()


def _from_mask_rcnn(image: np.ndarray, source: ThingSource) -> Job[tuple[Things, tuple[str, ...]]]:
    from napari_tessera.algorithms.panoptic_fusion import Things
    from napari_tessera.methods.mask_rcnn import mask_rcnn
    from napari_tessera.models import registry as catalogue

    found = yield from mask_rcnn(image, model=source.mask_rcnn, min_score=source.min_score, **source.settings)
    names = catalogue.find(source.mask_rcnn).classes[1:]
    classes = np.array([names.index(name) for name in found.table["class"].tolist()], np.int64)
    return Things(found.labels, classes, names, found.table["score"], found.table["hidden"]), tuple(
        _in_own_words(note) for note in found.notes
    )


def _in_own_words(note: str) -> str:
    return note.replace(ON_HIDDEN, "")


def _from_unet(image: np.ndarray, source: ThingSource) -> Job[tuple[Things, tuple[str, ...]]]:
    from napari_tessera.algorithms.panoptic_fusion import Things
    from napari_tessera.methods.unet import unet
    from napari_tessera.models import registry as catalogue

    entry = catalogue.find(source.unet)
    names = entry.classes[1:]
    if entry.task == "objects":
        found = MethodOutput.of((yield from unet(image, model=source.unet, **source.settings)))
        n_things = int(found.labels.max())
        return Things(found.labels, np.zeros(n_things, np.int64), names), found.notes
    found = MethodOutput.of(
        (yield from subtask(unet(image, model=source.unet, output="classes", **source.settings), 0, 9, 10))
    )
    things = yield from subtask(_regions_of(found.labels, names), 9, 1, 10)
    return things, found.notes


def _regions_of(classes: np.ndarray, names: tuple[str, ...]) -> Job[Things]:
    """Take each connected region of a class for a thing."""
    from napari_tessera.algorithms.panoptic_fusion import Things
    from napari_tessera.inference.decode_unet import components_of

    labels = yield from components_of(classes, 0)
    class_of = np.zeros(int(labels.max()) + 1, np.int64)
    flat, flat_classes = labels.reshape(-1), classes.reshape(-1)
    for part in chunks(flat.size):
        yield Progress(part.start, flat.size, "Naming things")
        class_of[flat[part]] = flat_classes[part]
    return Things(labels, class_of[1:] - 1, names)


def _from_watershed(image: np.ndarray, source: ThingSource) -> Job[tuple[Things, tuple[str, ...]]]:
    from napari_tessera.algorithms.panoptic_fusion import Things
    from napari_tessera.methods.watershed import watershed

    seen = {name: source.settings[name] for name in ("channel", "spacing", "channel_axis")}
    is_dark = source.settings["polarity"] == "dark"
    labels = yield from watershed(image, polarity="dark" if is_dark else "bright", **seen)
    return Things(labels, np.zeros(int(labels.max()), np.int64), (source.name or "object",)), ()


def find_stuff(image: np.ndarray, source: StuffSource) -> Job[Stuff]:
    """Find the class of every pixel, things or not; an error about the layer comes before the first step."""
    from napari_tessera.algorithms.panoptic_fusion import Stuff
    from napari_tessera.models import registry as catalogue

    if source.kind == "layer":
        return (yield from _stuff_from_layer(source))
    if source.kind == "unet":
        from napari_tessera.methods.unet import unet

        found = MethodOutput.of(
            (yield from unet(image, model=source.unet, output="classes", device=source.device, **source.settings))
        )
        return Stuff(found.labels, catalogue.find(source.unet).classes[1:])
    if source.kind == "kmeans":
        from napari_tessera.methods.kmeans import kmeans

        seen = {name: value for name, value in source.settings.items() if name != "channel"}
        clustering = kmeans(image, n_clusters=source.n_classes, sigma=source.sigma, **seen)
        return Stuff(MethodOutput.of((yield from clustering)).labels, source.names)
    from napari_tessera.methods.threshold import threshold

    names = source.names or ("foreground",)
    thresholding = threshold(image, sigma=source.sigma, **source.settings)
    return Stuff(MethodOutput.of((yield from thresholding)).labels, names)


def _stuff_from_layer(source: StuffSource) -> Job[Stuff]:
    from napari_tessera.algorithms.panoptic_fusion import Stuff

    layer = _given(source.layer, "stuff", "each number a class, 0 is background")
    largest = int(layer.max())
    if largest > LARGEST_CLASS:
        raise InputError(
            f"panoptic: `stuff` holds the number {largest}, but classes go up to {LARGEST_CLASS}. If its numbers are "
            "objects, give it as `things`; otherwise number the classes 1, 2, …"
        )
    yield Progress(0, 1, "Finding classes")
    return Stuff(layer, source.names)


def _given(layer: np.ndarray | None, name: str, meaning: str) -> np.ndarray:
    """Return a layer that must be there."""
    if layer is None:
        raise InputError(
            f"panoptic: `{name}_from` is 'layer', but no `{name}` was given. Give labels ({meaning}), or choose "
            f"another `{name}_from`."
        )
    return layer

"""The method `panoptic`: a class for every pixel, and a number for every countable object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from napari_tessera.core.errors import InputError, ParameterError
from napari_tessera.core.jobs import Job, Progress, Result, subtask
from napari_tessera.core.labels import chunks, renumbering
from napari_tessera.core.method import Method
from napari_tessera.core.result import ExtraImage, MethodOutput
from napari_tessera.core.spec import (
    SIGMA_TITLE,
    Channel,
    ChannelAxis,
    Choices,
    CommaSeparated,
    Device,
    Image,
    Labels,
    ModelName,
    Range,
    ShownIf,
    Spacing,
    Title,
)

if TYPE_CHECKING:
    from napari_tessera.algorithms.panoptic_fusion import Stuff, Things

LARGEST_CLASS = 65_535
ON_HIDDEN = "; the column `hidden` says how much of each"
"""Part of a note of `mask_rcnn` that is left out, since the table of segments has no such column."""
NETWORKS = ("mask_rcnn", "unet")
METHOD_TITLES = {"mask_rcnn": "Mask R-CNN", "unet": "U-Net", "kmeans": "K-means"}


def panoptic(
    image: Image,
    things: Annotated[Labels, Title("Objects (things)"), ShownIf("things_from", "layer")] | None = None,
    stuff: Annotated[Labels, Title("Regions (stuff)"), ShownIf("stuff_from", "layer")] | None = None,
    *,
    things_from: Annotated[
        Literal["layer", "mask_rcnn", "unet", "watershed"], Title("Objects (things) from"), Choices(METHOD_TITLES)
    ] = "unet",
    things_model: Annotated[
        str, Title("Model for objects"), ModelName("mask_rcnn"), ShownIf("things_from", "mask_rcnn")
    ] = "nuclei-mask-rcnn",
    things_unet: Annotated[
        str, Title("Model for objects"), ModelName("unet"), ShownIf("things_from", "unet")
    ] = "nuclei-unet",
    diameter: Annotated[float | None, Range(1, 5000, unit="px"), ShownIf("things_from", *NETWORKS)] = None,
    polarity: Annotated[Literal["auto", "bright", "dark"], ShownIf("things_from", *NETWORKS, "watershed")] = "auto",
    things_name: Annotated[str, Title("Name of objects"), ShownIf("things_from", "layer", "watershed")] = "object",
    min_score: Annotated[float | None, Range(0, 1, step=0.01), ShownIf("things_from", "mask_rcnn")] = None,
    least_remaining: Annotated[float, Range(0.5, 1, step=0.05), ShownIf("things_from", "mask_rcnn")] = 0.5,
    stuff_from: Annotated[
        Literal["layer", "threshold", "kmeans", "unet"], Title("Regions (stuff) from"), Choices(METHOD_TITLES)
    ] = "threshold",
    stuff_unet: Annotated[
        str, Title("Model for regions"), ModelName("unet"), ShownIf("stuff_from", "unet")
    ] = "nuclei-unet",
    stuff_classes: Annotated[int, Title("Classes of regions"), Range(2, 20), ShownIf("stuff_from", "kmeans")] = 3,
    stuff_names: Annotated[
        str, Title("Names of regions"), CommaSeparated(), ShownIf("stuff_from", "layer", "threshold", "kmeans")
    ] = "",
    sigma: Annotated[
        float, SIGMA_TITLE, Range(0, 50, unit="px", step=0.5), ShownIf("stuff_from", "threshold", "kmeans")
    ] = 1.0,
    smallest_stuff: Annotated[int, Title("Smallest region"), Range(0, unit="px²")] = 64,
    channel: Channel = None,
    device: Device = "auto",
    spacing: Spacing = None,
    channel_axis: ChannelAxis = None,
) -> Job[MethodOutput]:
    """Give every pixel a class, and every countable object a number of its own.

    Things are countable: cells, nuclei. Stuff is not: background, medium, tissue. Each comes from a layer, a method or
    a model; things are laid over stuff, so that every pixel is in exactly one segment.

    Parameters
    ----------
    image : array
        (Y, X) or (Z, Y, X), of any number type, with the channels at `channel_axis`.
    things : array, optional
        Labels of the image's shape, each number one thing; 0 is no thing. Needed, and used, where `things_from` is
        "layer".
    stuff : array, optional
        Labels of the image's shape, each number a class, from 1 to 65,535; 0 is background. Needed, and used, where
        `stuff_from` is "layer".
    things_from : str
        Where the things come from. "layer" takes `things`. "mask_rcnn" and "unet" find them with a model, in a volume
        plane by plane. "watershed" finds what is brighter than its surroundings, without a model.
    things_model : str
        Mask R-CNN that finds the things: a name (`tessera models` lists them), or the path of a model file.
    things_unet : str
        U-Net that finds the things: a name, or the path of a model file. With a model for classes, each connected
        region of a class is a thing.
    diameter : float, optional
        Usual diameter of a thing, in pixels along X. Empty means estimated from the image.
    polarity : str
        Whether things are brighter or darker than the background. "auto" lets a network decide; the watershed then
        takes them for bright.
    things_name : str
        Name of the class of the things.
    min_score : float, optional
        Least score of a thing, 0 to 1. Empty means the model's own.
    least_remaining : float
        Share of a thing that must be left beside things of higher score; otherwise it is dropped.
    stuff_from : str
        Where the stuff comes from. "layer" takes `stuff`. "threshold" parts background and foreground at Otsu's level.
        "kmeans" makes classes of like intensity or colour, from dark to bright. "unet" takes the classes of a model.
    stuff_unet : str
        U-Net whose classes are the stuff: a name, or the path of a model file.
    stuff_classes : int
        Number of classes of stuff.
    stuff_names : str or list of str
        Names of the classes of stuff 1, 2, … with commas between, such as "cytoplasm, matrix". Of a threshold, 1 is the
        foreground; of k-means, the darkest. Those without a name are called "class 1" and so on. A threshold has one
        class, k-means `stuff_classes`; more names are refused.
    sigma : float
        Standard deviation of a Gaussian that is applied before the stuff is found; 0 is none.
    smallest_stuff : int
        A class of stuff with fewer pixels than this in the image, in 3-D fewer voxels, is dropped: each of its pixels
        goes to the nearest stuff that is left. 0 drops none; the largest class always stays.
    channel : int, optional
        Channel to look at, from 0; empty takes all together, each method and model in its own way. The classes of
        k-means are made of all channels in any case.
    device : str
        Where networks run. "auto" takes a graphics card if there is one, otherwise the processor.
    spacing : tuple of float, optional
        Size of a pixel along each axis.
    channel_axis : int, optional
        Axis of `image` that holds channels, or None. If not given, it is the last one of what looks like colours: of
        length 3 or 4, in an image that is 8-bit or larger than 30×30.

    Returns
    -------
    labels : array of int32
        The image's spatial shape. Things are 1…N in raster order of their first pixel; then follows one number for each
        class of stuff. No pixel is 0.
    classes : array of int32
        The class of each pixel: 1 is background, then come the classes of things, then those of stuff. A class has the
        same number in every image.
    table : dict of str to array
        For each label its ``class`` (name), its ``kind`` ("thing" or "stuff"), its ``score`` (of the model; NaN where
        there is none) and its ``pixels``.

    Raises
    ------
    InputError
        If "layer" is chosen and none is given, if `stuff` holds too large numbers, or a model does not suit the image.
    ParameterError
        If there is no such model or device, the image does not have the channel, two classes have the same name, or
        there are more names than classes.

    Notes
    -----
    Conflicts are resolved as in the paper. Of things that overlap, the one of the higher score has the pixels; a thing
    of which too little is left is dropped, and its pixels go to the stuff. Things win over stuff. Stuff of a small area
    is dropped, and so is stuff that has the name of a class of things, such as nuclei that only the model of stuff saw;
    other than in the paper its pixels get a class, the nearest. The scores of `tessera evaluate --task panoptic`
    are those of the paper, too.

    References
    ----------
    Kirillov A., He K., Girshick R., Rother C., Dollár P. (2019), Panoptic segmentation,
    doi:10.1109/CVPR.2019.00963.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_tessera as tessera
    >>> cells = np.array([[7, 7, 0, 0], [7, 7, 0, 9]])
    >>> tissue = np.array([[0, 0, 0, 0], [0, 0, 1, 1]])
    >>> labels, classes, table = tessera.panoptic(np.zeros((2, 4)), cells, tissue, smallest_stuff=0)
    >>> labels
    array([[1, 1, 3, 3],
           [1, 1, 4, 2]], dtype=int32)
    >>> classes
    array([[2, 2, 1, 1],
           [2, 2, 3, 2]], dtype=int32)
    >>> table["class"].tolist()
    ['object', 'object', 'background', 'class 1']
    """
    from napari_tessera.algorithms.panoptic_fusion import Rules, fuse

    seen = {"channel": channel, "spacing": spacing, "channel_axis": channel_axis}
    of_networks = {"diameter": diameter, "polarity": polarity, "device": device}
    settings = of_networks | seen
    thing_source = ThingSource(
        things_from, things, thing_name(things_name), things_model, things_unet, min_score, settings
    )
    names = given_names(stuff_names)
    stuff_source = StuffSource(stuff_from, stuff, names, stuff_unet, stuff_classes, sigma, device, seen)
    check_names_fit(stuff_source)
    finding_things = started(find_things(image, thing_source))
    finding_stuff = started(find_stuff(image, stuff_source))
    found_things, notes = yield from subtask(finding_things, 0, 6, 10)
    found_stuff = yield from subtask(finding_stuff, 6, 2, 10)
    rules = Rules(least_remaining=least_remaining, smallest_stuff_px=smallest_stuff)
    fused = yield from subtask(fuse(found_things, found_stuff, rules, spacing), 8, 2, 10)
    others = (ExtraImage("classes", "classes", fused.classes, fused.class_table),)
    if stuff_from != "layer":
        notes = (*notes, *notes_on_rims(fused.rims))
    return MethodOutput(fused.segments, fused.table, notes, others)


def notes_on_rims(rims: Mapping[str, int]) -> tuple[str, ...]:
    """Say of which stuff little more is left than the rims of things, and how to be rid of it.

    Examples
    --------
    >>> notes_on_rims({"foreground": 256})[0].partition("; ")[2].partition(". ")[0]
    'what is left is mostly their rims'
    """
    return tuple(
        f'Things cover most of the stuff "{name}"; what is left is mostly their rims. To give them to the '
        f"nearest stuff, set `smallest_stuff` to {pixels + 1} px or more."
        for name, pixels in rims.items()
    )


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
    notes = tuple(note.replace(ON_HIDDEN, "") for note in found.notes)
    return Things(found.labels, classes, names, found.table["score"], found.table["hidden"]), notes


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
    found = MethodOutput.of((yield from watershed(image, polarity="dark" if is_dark else "bright", **seen)))
    return Things(found.labels, np.zeros(int(found.labels.max()), np.int64), (source.name or "object",)), found.notes


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


METHOD = Method(panoptic, "Panoptic", output="segments")

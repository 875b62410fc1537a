"""The training settings, for Python and the command line, and their checks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar

from napari_tessera.core.errors import ParameterError, short
from napari_tessera.core.jobs import worker_count
from napari_tessera.core.method import Declaration
from napari_tessera.core.spec import Choices, CommaSeparated, Range, ShownIf, Title
from napari_tessera.training.losses import LOSSES, loss_parameters, losses_with


def numbers(text: str, parameter: str) -> tuple[float, ...]:
    """Read numbers above 0 separated by commas.

    Examples
    --------
    >>> numbers("1, 2.5", "class_weights")
    (1.0, 2.5)
    """
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(0 < value < float("inf") for value in found):
        raise ParameterError(
            f"Training: `{parameter}` is {short(text)}, but it must be numbers above 0 with commas between, such as "
            "1,2,4.",
            parameter,
        )
    return found


def words(text: str | None) -> tuple[str, ...]:
    """Split a text at its commas."""
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


LossName = Annotated[str, Choices({name: loss.title for name, loss in LOSSES.items()})]
NetworkKind = Annotated[
    Literal["unet", "mask-rcnn", "click"],
    Choices({"unet": "U-Net", "mask-rcnn": "Mask R-CNN", "click": "Click network"}),
]
LENGTHS = ("steps", "epochs", "minutes")
NOT_FOR_CLICKS = ("class_weights", "diameter", "inversion", "patch", "rehearsal", "rescaling")
"""Settings that a click network does not take."""
BALANCED = "balanced"
NOTHING = "nothing"
DIAMETER_PX = {2: 32.0, 3: 16.0}
"""Usual diameter of an object at the scale of a network that is new, in planes and in volumes."""
USUAL_STARTS: Mapping[NetworkKind, str] = {"unet": "cells", "mask-rcnn": "nuclei-mask-rcnn", "click": "click"}
"""The shipped models that learn annotated objects in planes fastest."""


def usual_start(network: NetworkKind, task: str, ndim: int) -> str:
    """Return the model to start from by default: for objects in planes a shipped one, otherwise "nothing".

    Examples
    --------
    >>> usual_start("mask-rcnn", "objects", 2), usual_start("unet", "classes", 2)
    ('nuclei-mask-rcnn', 'nothing')
    """
    return USUAL_STARTS[network] if task == "objects" and ndim == 2 else NOTHING


@dataclass(frozen=True, kw_only=True)
class Training:
    """How to train a network on labelled images.

    Parameters
    ----------
    network : {"unet", "mask-rcnn", "click"}
        A U-Net classifies each pixel. A Mask R-CNN finds objects, in planes, each with its own score and mask, so that
        objects may overlap. A click network finds the one object that is pointed at.
    task : {"objects", "classes"}
        What the labels are: one number per object, or one number per class of pixels.
    painted : bool
        The labels are annotations: 0 is not annotated and never counts, 1 is background, 2… objects or classes.
        Otherwise every pixel counts and 0 is background.
    ignore : int
        Pixels with this number in the labels never count.
    classes : str or list of str
        Names of the classes, background first, such as background,nucleus.
    ndim : {2, 3}
        2 trains on planes, also those of a stack; 3 on volumes.
    validation : float
        Share of the images that is held out to choose the best weights; in a single stack, its last planes.
    diameter : float
        Usual object diameter at the network's scale; images are rescaled to it. Auto: 32 in 2-D, 16 in 3-D. Classes are
        learnt at the scale of the images.
    loss : str
        The loss to minimise; see "Choosing a loss" in the documentation. For a Mask R-CNN, the loss of the classes of
        boxes.
    mask_loss : str
        The loss of the mask within a box.
    class_weights : str or list of float
        Weight of a pixel (for a Mask R-CNN: a box) of each class, background first, such as 1,5,5; or "balanced": the
        rarer the class the higher, up to ten times. Auto: all equal. A U-Net for objects has three classes: background,
        object, border.
    gamma : float
        For the focal loss: how little a pixel counts if the network is certain; 0: as much as any other.
    alpha : float
        For the focal loss: the weight of all classes except the background, which has 1 − `alpha`. For the Tversky
        loss: the weight of false positive pixels. Auto: 0.25 with the focal loss, 0.3 with the Tversky loss.
    beta : float
        For the Tversky loss: the weight of false negative pixels.
    start_from : str
        Name or path of a model to start from, which also sets `widths` and `diameter`. "nothing" starts with random
        weights. For a Mask R-CNN, "coco" is the published model (downloaded, 170 MB), as is its file's path; a .pth
        file of weights of a Mask R-CNN with ResNet-101, named as in torchvision, can be given, too. Annotated objects
        in planes start from a shipped model if nothing else is given.
    steps : int
        Number of batches.
    epochs : float
        Instead of `steps`: passes over all labels.
    minutes : float
        Instead of `steps`: as many steps as fit into this time, measured at the start.
    patience : int
        Validations without a better score after which the training ends early. Auto: it does not.
    learning_rate : float
        Learning rate between warm-up and cool-down. Auto: 0.002 for a U-Net and 0.001 for a Mask R-CNN; a quarter to a
        twentieth of it from a model with a long training, whose batch normalisation then stays as it is, so that it
        forgets little.
    rehearsal : float
        Share of the patches that come from the training data of the shipped start model, of all kinds that it knows, so
        that it still finds these after it has learnt other objects. Auto: half of them for annotated objects, otherwise
        0.
    validations : int
        How often the network is scored on the validation images.
    patch : int
        Side of the patches. Auto: 160 in 2-D, 64 in 3-D; for annotated classes 48.
    batch : int
        Patches per step. Auto: 4; for annotated classes in 2-D, whose patches are small, 8.
    widths : str or list of int
        Channels of the network at each level, from the finest down, separated by commas. Auto: for a U-Net
        24,48,96,192,256 in 2-D, 16,32,64,128 in 3-D, and for annotated classes 16,32,64; for a Mask R-CNN, which has
        four levels, 32,64,128,256.
    intensity_changes : float
        Strength of random changes of brightness, contrast, sharpness and noise of the patches: higher for images of
        many microscopes, lower if outlines in the labels follow the glow around objects; 0 means no change. Auto: 1;
        for annotated classes, usually on images of one kind, 0.2, and 0.6 for strokes on less than a quarter of it, so
        that they are not memorised.
    noise : float
        Share of the patches with added camera noise, pixel by pixel, for images with more noise than the labelled ones.
    inversion : float
        Share of the patches of bright objects that are inverted to dark objects, for images with inverted brightness.
    rescaling : float
        How differently the patches are rescaled at random: standard deviation of the natural logarithm of the factor.
        Higher for images of other magnifications. Auto: 0.22, and 0.15 for classes.
    balance : str or list of str
        Columns of the index that define kinds of images, such as modality,height: rare kinds are used more often than
        their number alone would give.
    seed : int
        The same seed gives the same weights on the same machine.
    precision : {"auto", "mixed", "full"}
        "mixed" computes partly in 16 bits. Auto: mixed if the machine is faster with it.
    device : {"auto", "cpu", "cuda", "mps"}
        Where to compute.
    threads : int
        Processor cores to use. Auto: all.
    save_every : float
        Time between two checkpoints: the most that a power cut can cost.
    name : str
        Name of the model. Auto: that of the file.
    title : str
        Title of the model in lists.
    summary : str
        One line on what the model does. Auto: the title.
    card : str
        Markdown file with the model card. Auto: written from the training.
    licence : str
        Licence of the model, such as CC0-1.0.
    cite : str
        What to cite when using the model.
    """

    network: NetworkKind = "unet"
    task: Literal["objects", "classes"] = "objects"
    painted: bool = False
    ignore: Annotated[int | None, Range(0)] = None
    classes: Annotated[str | None, CommaSeparated()] = None
    ndim: Annotated[Literal[2, 3], Title("Dimensions")] = 2
    validation: Annotated[float, Range(0, 0.9)] = 0.15
    diameter: Annotated[float | None, Range(4, 500, unit="px"), ShownIf("task", "objects")] = None
    loss: LossName = "combined"
    mask_loss: Annotated[LossName, ShownIf("network", "mask-rcnn")] = "combined"
    class_weights: Annotated[
        str | None, CommaSeparated(), ShownIf("loss", *(name for name, loss in LOSSES.items() if loss.takes_weights))
    ] = None
    gamma: Annotated[float, Range(0, 10, step=0.5), ShownIf("loss", *losses_with("gamma"))] = 2.0
    alpha: Annotated[float | None, Range(0.01, 0.99, step=0.05), ShownIf("loss", *losses_with("alpha"))] = None
    beta: Annotated[float, Range(0.01, 0.99, step=0.05), ShownIf("loss", *losses_with("beta"))] = 0.7
    start_from: str = NOTHING
    steps: Annotated[int, Range(1, 10_000_000)] = 2000
    epochs: Annotated[float | None, Range(0.01, 1_000_000)] = None
    minutes: Annotated[float | None, Range(0.1, unit="min")] = None
    patience: Annotated[int | None, Range(1, 10_000)] = None
    learning_rate: Annotated[float | None, Range(1e-5, 0.1, step=0.0001)] = None
    rehearsal: Annotated[float | None, Range(0, 0.9, step=0.1), ShownIf("task", "objects")] = None
    validations: Annotated[int, Range(1, 10_000)] = 10
    patch: Annotated[int | None, Range(16, 2048, unit="px")] = None
    batch: Annotated[int | None, Range(1, 1024)] = None
    widths: Annotated[str | None, Title("Channels per level"), CommaSeparated()] = None
    intensity_changes: Annotated[float | None, Range(0, 2, step=0.1)] = None
    noise: Annotated[float, Range(0, 1, step=0.1)] = 0.0
    inversion: Annotated[float, Range(0, 1, step=0.1)] = 0.0
    rescaling: Annotated[float | None, Range(0, 1, step=0.05)] = None
    balance: Annotated[str | None, CommaSeparated()] = None
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0
    precision: Literal["auto", "mixed", "full"] = "auto"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: Annotated[int | None, Range(1)] = None
    save_every: Annotated[float, Range(0, unit="s")] = 60.0
    name: str | None = None
    title: str | None = None
    summary: str | None = None
    card: str | None = None
    licence: str | None = None
    cite: str | None = None


DECLARATION = Declaration(Training)
Function = TypeVar("Function", bound=Callable[..., Any])


def shows_settings(function: Function) -> Function:
    """Show the settings in the signature of a function in place of `**settings`: in its help, and for completion.

    On annotations `painted` is always true, so a function with an argument of this name has no such setting.
    """
    signature = inspect.signature(function, eval_str=True)
    shown = {name: each for name, each in signature.parameters.items() if each.kind is not each.VAR_KEYWORD}
    for setting in DECLARATION.parameters:
        kind: Any = str | Sequence[Any] if setting.is_list else setting.kind
        hint = kind | None if setting.default is None else kind
        own = inspect.Parameter(setting.name, inspect.Parameter.KEYWORD_ONLY, default=setting.default, annotation=hint)
        shown.setdefault(setting.name, own)
    vars(function)["__signature__"] = signature.replace(parameters=list(shown.values()))
    return function


def checked_settings(values: Mapping[str, Any]) -> Training:
    """Check every value and fill in defaults; a ParameterError names the setting that is unknown or out of range.

    If annotations are learnt and no model to start from is given, it is the usual one.
    """
    settings = Training(**DECLARATION.checked(values))
    if settings.painted and "start_from" not in values:
        settings = replace(settings, start_from=usual_start(settings.network, settings.task, settings.ndim))
    check_network(settings)
    check_weights(settings)
    check_loss_parameters(settings, values)
    check_budget(values)
    check_threads(settings.threads)
    return settings


def check_network(settings: Training) -> None:
    """Refuse settings that the network cannot use."""
    if settings.network != "mask-rcnn" and settings.mask_loss != Training.mask_loss:
        raise ParameterError(
            f'Training: `mask_loss` is the loss of a Mask R-CNN\'s masks, but `network` is "{settings.network}". Leave '
            'it out, or choose the network "mask-rcnn".',
            "mask_loss",
        )
    if settings.network == "unet":
        return
    title = {"mask-rcnn": "a Mask R-CNN", "click": "a click network"}[settings.network]
    if settings.task != "objects":
        raise ParameterError(
            f'Training: `task` is "classes", but {title} finds objects. Choose the network "unet".', "task"
        )
    if settings.ndim != 2:
        raise ParameterError(
            f"Training: `ndim` is 3, but {title} segments planes. Choose 2 (it then finds the objects of a volume "
            'plane by plane), or the network "unet".',
            "ndim",
        )
    for name in NOT_FOR_CLICKS if settings.network == "click" else ():
        if getattr(settings, name) != getattr(Training, name):
            raise ParameterError(
                f"Training: `{name}` has no effect on a click network, which sees windows of one size around objects "
                "of any size. Leave it out.",
                name,
            )


def check_budget(given: Mapping[str, Any]) -> None:
    """Refuse two lengths at once; the default of `steps` does not count."""
    lengths = [name for name in LENGTHS if given.get(name) is not None]
    if len(lengths) > 1:
        named = " and ".join(f"`{name}`" for name in lengths)
        raise ParameterError(
            f"Training: {named} {'both' if len(lengths) == 2 else 'all'} set the number of steps. Give one of them.",
            lengths[-1],
        )


def check_threads(count: int | None) -> None:
    """Refuse more threads than cores, because they would slow each other down."""
    cores = worker_count()
    if count is not None and count > cores:
        raise ParameterError(
            f"Training: `threads` is {count}, but there are {cores} processor cores to use. Leave it out to use all.",
            "threads",
        )


def check_loss_parameters(settings: Training, given: Mapping[str, Any]) -> None:
    """Refuse parameters of losses that are not chosen."""
    known = loss_parameters((settings.loss, settings.mask_loss))
    for name in loss_parameters():
        if given.get(name) is not None and name not in known:
            others = " or ".join(f'"{loss}"' for loss in losses_with(name))
            raise ParameterError(
                f'Training: `{name}` has no effect on the loss "{settings.loss}". Leave it out, or choose the loss '
                f"{others}.",
                name,
            )


def check_weights(settings: Training) -> None:
    """Refuse invalid class weights, or class weights that the loss does not use."""
    if settings.class_weights is None:
        return
    if not LOSSES[settings.loss].takes_weights:
        raise ParameterError(
            f'Training: `class_weights` has no effect on the loss "{settings.loss}". Leave it out, or choose another '
            "loss.",
            "class_weights",
        )
    if settings.class_weights != BALANCED:
        numbers(settings.class_weights, "class_weights")

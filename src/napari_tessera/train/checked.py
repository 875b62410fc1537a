"""Settings of a training, made whole, or refused with a message that says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_tessera.bands import worker_count
from napari_tessera.errors import ParameterError
from napari_tessera.train.lists import numbers
from napari_tessera.train.settings import BALANCED, DECLARATION, LENGTHS, OF_FOCAL, Training


def checked_settings(values: Mapping[str, Any]) -> Training:
    """Check every value and fill in defaults.

    Raises
    ------
    ParameterError
        Naming the setting that is unknown or out of range.
    """
    settings = Training(**DECLARATION.checked(values))
    check_network(settings)
    check_weights(settings)
    check_focal(settings, values)
    check_budget(values)
    check_threads(settings.threads)
    return settings


def check_network(settings: Training) -> None:
    """Refuse what the network cannot learn.

    Raises
    ------
    ParameterError
    """
    if settings.network == "unet":
        if settings.mask_loss != Training.mask_loss:
            raise ParameterError(
                'Training: `mask_loss` is the loss of a Mask R-CNN\'s masks, but `network` is "unet". Leave it out, or '
                'choose the network "mask-rcnn".',
                "mask_loss",
            )
    elif settings.task != "objects":
        raise ParameterError(
            'Training: `task` is "classes", but a Mask R-CNN finds objects. Choose the network "unet".', "task"
        )
    elif settings.ndim != 2:
        raise ParameterError(
            "Training: `ndim` is 3, but a Mask R-CNN sees planes. Choose 2 (it then finds the objects of a volume "
            'plane by plane), or the network "unet".',
            "ndim",
        )


def check_budget(given: Mapping[str, Any]) -> None:
    """Refuse two lengths at once; the `steps` that a training has of itself are none that was given.

    Raises
    ------
    ParameterError
    """
    lengths = [name for name in LENGTHS if given.get(name) is not None]
    if len(lengths) > 1:
        named = " and ".join(f"`{name}`" for name in lengths)
        raise ParameterError(
            f"Training: {named} {'both' if len(lengths) == 2 else 'all'} say how long to train. Give one of them.",
            lengths[-1],
        )


def check_threads(count: int | None) -> None:
    """Refuse more threads than there are processor cores: they would only be in each other's way.

    Raises
    ------
    ParameterError
    """
    cores = worker_count()
    if count is not None and count > cores:
        raise ParameterError(
            f"Training: `threads` is {count}, but there are {cores} processor cores to use. Leave it out to use all.",
            "threads",
        )


def check_focal(settings: Training, given: Mapping[str, Any]) -> None:
    """Refuse numbers of the focal loss where another loss is chosen.

    Raises
    ------
    ParameterError
    """
    numbers_given = [name for name in OF_FOCAL if given.get(name) is not None]
    if numbers_given and "focal" not in (settings.loss, settings.mask_loss):
        raise ParameterError(
            f'Training: `{numbers_given[0]}` has no effect on the loss "{settings.loss}": it is a number of the focal '
            'loss. Leave it out, or choose the loss "focal".',
            numbers_given[0],
        )


def check_weights(settings: Training) -> None:
    """Refuse class weights that are no weights, or that the loss does not use."""
    if settings.class_weights is None:
        return
    if settings.loss == "dice":
        raise ParameterError(
            "Training: `class_weights` has no effect on the Dice loss, in which each class counts the same already. "
            "Leave it out, or choose another loss.",
            "class_weights",
        )
    if settings.class_weights != BALANCED:
        numbers(settings.class_weights, "class_weights")

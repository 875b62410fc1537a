"""Fill in automatic settings from the data, the hardware and the time."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_tessera.core.errors import ParameterError
from napari_tessera.core.jobs import Job, Progress, finish_writing
from napari_tessera.inference.click import WINDOW_PX
from napari_tessera.models.device import free_bytes, low_precision
from napari_tessera.models.weights import empty_network
from napari_tessera.training.checkpoint import read_checkpoint
from napari_tessera.training.config import TrainingConfig
from napari_tessera.training.data.dataset import Dataset
from napari_tessera.training.data.example import NOT_PAINTED, Example, has_few_strokes
from napari_tessera.training.losses import loss_parameters
from napari_tessera.training.pretrained import Pretrained
from napari_tessera.training.rehearsal import known_kinds
from napari_tessera.training.settings import BALANCED, DIAMETER_PX, USUAL_STARTS, NetworkKind, Training, numbers
from napari_tessera.training.unet_task import learn

CLICK_WIDTHS, CLICK_BATCH = (16, 32, 64, 128, 256), 12
WIDTHS = {2: (24, 48, 96, 192, 256), 3: (16, 32, 64, 128)}
DETECTION_WIDTHS = (32, 64, 128, 256)
DETECTION_STEP_PX = 32
"""The sides of the patches of a Mask R-CNN are multiples of this."""
PATCH_PX = {2: 160, 3: 64}
LARGEST_WEIGHT = 10.0
BATCH = 4
WIDTHS_FOR_STROKES = (16, 32, 64)
PATCH_FOR_STROKES_PX = 48
BATCH_FOR_STROKES = {2: 8, 3: 4}
INTENSITY_CHANGES_FOR_STROKES, INTENSITY_CHANGES_FOR_PAINT = 0.6, 0.2
"""For annotated classes: strokes are few and narrow, so a small network learns fastest on many small patches."""
USUAL_REHEARSAL = 0.5


def resolve_config(settings: Training, data: Dataset, device: str, start: Pretrained | None = None) -> TrainingConfig:
    """Fill in the automatic settings, except the number of steps that fit into a time.

    A ParameterError says that a setting does not fit the others or the data.
    """
    ndim = settings.ndim
    if settings.network == "click" and data.kind != "colours":
        raise ParameterError(
            f"Training: the images have {data.n_channels} channels, but a click network takes grey and RGB images. "
            "Give one channel each.",
            "network",
        )
    widths = widths_for(settings, start)
    patch_px = patch_for(settings, step_px(settings.network, widths))
    share, kinds = rehearsal_for(settings, start)
    is_faster_mixed = low_precision(device) == torch.bfloat16
    return TrainingConfig(
        network=settings.network,
        task=settings.task,
        steps=settings.steps,
        ndim=ndim,
        n_classes=data.n_classes,
        kind=data.kind,
        n_channels=data.n_channels,
        widths=widths,
        diameter_px=diameter_for(settings, start),
        patch_px=patch_px,
        depth_px=patch_px if ndim == 3 else 0,
        batch=settings.batch or usual_batch(settings),
        learning_rate=settings.learning_rate,
        rehearsal=share,
        rehearsed=kinds,
        validations=settings.validations,
        intensity_changes=intensity_changes(settings, data),
        noise=settings.noise,
        inversion=settings.inversion,
        rescaling=settings.rescaling,
        loss=settings.loss,
        mask_loss=settings.mask_loss,
        loss_parameters=_loss_parameters(settings),
        class_weights=class_weights(settings, data),
        mixed=is_faster_mixed if settings.precision == "auto" else settings.precision == "mixed",
        seed=settings.seed,
        patience=settings.patience,
        start=None if start is None else start.as_json(),
    )


def usual_batch(settings: Training) -> int:
    """Return how many patches a step has, if nothing else is asked for."""
    if settings.network == "click":
        return CLICK_BATCH
    return BATCH_FOR_STROKES[settings.ndim] if is_strokes(settings) else BATCH


def _loss_parameters(settings: Training) -> dict[str, float]:
    """Return the numbers of the losses that are used; those left open are the loss's own."""
    found = {name: getattr(settings, name) for name in loss_parameters((settings.loss, settings.mask_loss))}
    return {name: value for name, value in found.items() if value is not None}


def rehearsal_for(settings: Training, start: Pretrained | None) -> tuple[float, tuple[str, ...]]:
    """Return the share of the patches that come from the start model's earlier data, and the kinds of these images.

    Automatic is half for annotated objects if the data is available. A ParameterError says that rehearsal is asked for,
    but the start model has no earlier data.
    """
    kinds = known_kinds(start) if settings.task == "objects" and start is not None else ()
    share = settings.rehearsal
    if settings.network == "click":
        return 0.0, ()
    if share is None:
        share = USUAL_REHEARSAL if kinds and settings.painted else 0.0
    if share > 0 and not kinds:
        raise ParameterError(
            f"Training: `rehearsal` is {share:g}, but only a shipped model, or one that was trained from it with "
            f'rehearsal, has objects to rehearse. Leave it out, or start from "{USUAL_STARTS[settings.network]}".',
            "rehearsal",
        )
    return share, kinds if share > 0 else ()


def diameter_for(settings: Training, start: Pretrained | None = None) -> float | None:
    """Return the usual object diameter at the network's scale; None for classes."""
    if settings.task == "classes" or settings.network == "click":
        return None
    return (start and start.diameter_px) or settings.diameter or DIAMETER_PX[settings.ndim]


def widths_for(settings: Training, start: Pretrained | None = None) -> tuple[int, ...]:
    """Return the channels of the network at each level."""
    if start is not None:
        return tuple(start.architecture["widths"])
    is_unet = settings.network != "mask-rcnn"
    if settings.widths is None and settings.network == "click":
        return CLICK_WIDTHS
    if settings.widths is None and is_strokes(settings):
        return WIDTHS_FOR_STROKES
    if settings.widths is None:
        return WIDTHS[settings.ndim] if is_unet else DETECTION_WIDTHS
    widths = whole_numbers(settings.widths, "widths")
    if not is_unet and len(widths) != len(DETECTION_WIDTHS):
        raise ParameterError(
            f"Training: `widths` has {len(widths)} numbers, but a Mask R-CNN has {len(DETECTION_WIDTHS)} levels. Give "
            f"as many, such as {','.join(map(str, DETECTION_WIDTHS))}.",
            "widths",
        )
    return widths


def is_strokes(settings: Training) -> bool:
    """Return whether the training is on annotations of classes."""
    return settings.painted and settings.task == "classes"


def intensity_changes(settings: Training, data: Dataset) -> float:
    """Return the strength of random intensity changes.

    It is low for images of one kind, and higher if a few strokes could be memorised.
    """
    if settings.intensity_changes is not None:
        return settings.intensity_changes
    if not is_strokes(settings):
        return 1.0
    return INTENSITY_CHANGES_FOR_STROKES if has_few_strokes(data.learn) else INTENSITY_CHANGES_FOR_PAINT


def whole_numbers(text: str, parameter: str) -> tuple[int, ...]:
    """Read whole numbers separated by commas."""
    found = numbers(text, parameter)
    if any(value != int(value) for value in found):
        raise ParameterError(f"Training: `{parameter}` is {text!r}, but it must be whole numbers.", parameter)
    return tuple(int(value) for value in found)


def step_px(network: NetworkKind, widths: Sequence[int]) -> int:
    """Return the pixels along a patch's side for one pixel of the network's coarsest level."""
    return DETECTION_STEP_PX if network == "mask-rcnn" else 2 ** (len(widths) - 1)


def check_coarsest(plan: TrainingConfig) -> None:
    """Refuse batches with a single pixel at the coarsest level: batch normalisation needs more."""
    step = step_px(plan.network, plan.widths)
    if plan.patch_px == step and plan.batch == 1:
        raise ParameterError(
            f"Training: `patch` is {plan.patch_px}, a single pixel for the network's coarsest level, and there "
            f"is one patch per step. Choose {2 * step}, or a larger `batch`.",
            "patch",
        )


def patch_for(settings: Training, step: int) -> int:
    """Return the side of a patch, which the network must be able to halve at each level."""
    if settings.network == "click":
        return WINDOW_PX
    usual_px = PATCH_FOR_STROKES_PX if is_strokes(settings) else PATCH_PX[settings.ndim]
    patch_px = settings.patch or usual_px
    if patch_px % step:
        nearest = max(step, round(patch_px / step) * step)
        raise ParameterError(
            f"Training: `patch` is {patch_px}, but for this network it must be a multiple of {step}, such as "
            f"{nearest}.",
            "patch",
        )
    return patch_px


def class_weights(settings: Training, data: Dataset) -> tuple[float, ...] | None:
    """Return the weight of a pixel of each class; refuse more or fewer weights than classes."""
    if settings.class_weights is None:
        return None
    if settings.class_weights == BALANCED:
        if settings.task == "objects":
            raise ParameterError(
                'Training: `class_weights` is "balanced", but objects are balanced already: small ones and borders '
                "count more. Leave it out, or give one number for each class.",
                "class_weights",
            )
        return balanced([example.sizes for example in data.learn], data.n_classes)
    found = numbers(settings.class_weights, "class_weights")
    count = data.n_classes if settings.task == "classes" else 3 if settings.network == "unet" else 2
    if len(found) != count:
        raise ParameterError(
            f"Training: `class_weights` has {len(found)} numbers, but there are {count} classes, background included.",
            "class_weights",
        )
    return found


def balanced(sizes: Sequence[np.ndarray], n_classes: int) -> tuple[float, ...]:
    """Weight classes by the inverse of their annotated frequency, so that the mean weight of annotated pixels is 1.

    A class has at most `LARGEST_WEIGHT` times the weight of the most frequent one: higher weights make the network find
    it everywhere.

    Examples
    --------
    >>> balanced([np.array([9, 30, 10])], 2)  # 9 pixels are not annotated, 30 are background
    (0.6667, 2.0)
    >>> balanced([np.array([0, 9900, 100])], 2)
    (0.9174, 9.1743)
    """
    counts = np.zeros(n_classes)
    for each in sizes:
        counts[: len(each) - 1] += each[1:]
    weights = np.minimum(counts.max() / np.maximum(counts, 1), LARGEST_WEIGHT)
    weights *= counts.sum() / (weights * counts).sum()
    return tuple(float(weight) for weight in np.where(counts > 0, weights, 1).round(4))


VALUES_PER_CHANNEL = {False: 12, True: 8}
"""float32 values that a step keeps per pixel and channel of each level, without and with mixed precision.

Measured: 17 to 30, and 14 with mixed precision; so a training that is refused would certainly not fit.
"""
FINEST_STRIDE_PX: Mapping[NetworkKind, int] = {"unet": 1, "mask-rcnn": 4, "click": 1}
"""Pixels of a patch for each pixel of the network's finest level."""
COPIES_OF_WEIGHTS = 6
"""Copies of the weights: weights, gradients, two moments, the moving average, and the best so far."""


def check_memory(plan: TrainingConfig, device: str) -> None:
    """Refuse a training whose steps cannot fit into the device's free memory."""
    needed, free = least_bytes(plan), free_bytes(device)
    if needed > free:
        raise ParameterError(
            f"Training: {plan.batch} patches of {plan.patch_px} px with the widths "
            f"{','.join(map(str, plan.widths))} need more than {_in_gigabytes(needed)} of memory, but "
            f"{_in_gigabytes(free)} are free. Choose a smaller `patch` or `batch`, or narrower `widths`.",
            "batch",
        )


def least_bytes(plan: TrainingConfig) -> int:
    """Return a lower bound for the memory of a step."""
    n_pixels = plan.batch * plan.patch_px**2 * (plan.depth_px or 1) / FINEST_STRIDE_PX[plan.network] ** plan.ndim
    n_features = sum(width * n_pixels / 2 ** (plan.ndim * level) for level, width in enumerate(plan.widths))
    n_weights = sum(each.numel() for each in empty_network(plan.described_network()).state_dict().values())
    return 4 * int(VALUES_PER_CHANNEL[plan.mixed] * n_features + COPIES_OF_WEIGHTS * n_weights)


def _in_gigabytes(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.1f} GB"


TIMED_STEPS = 5
SHARE_OF_LEARNING, SHARE_OF_VALIDATION = 0.85, 0.1
"""Share of the time for steps and validations together (the rest is for reading and writing), and for validations."""
FORWARD_SHARE = 0.4
"""Prediction time per pixel as a share of the training time per pixel."""


def with_length(
    settings: Training, plan: TrainingConfig, data: Dataset, device: str, checkpoint: Path
) -> Job[TrainingConfig]:
    """Return the configuration with its number of steps, from the settings' steps, epochs or minutes."""
    if settings.minutes is not None:
        return (yield from with_steps_in(settings.minutes, plan, data, device, checkpoint))
    return plan if settings.epochs is None else replace(plan, steps=steps_in(settings.epochs, data.learn, plan))


def steps_in(epochs: float, examples: Sequence[Example], plan: TrainingConfig) -> int:
    """Return the steps for this many passes over all labels, at least 1."""
    patches = sum(patches_to_cover(example, plan) for example in examples)
    return max(1, math.ceil(epochs * patches / plan.batch))


def patches_to_cover(example: Example, plan: TrainingConfig) -> int:
    """Count the patches, side by side, that cover the labels of an image."""
    wanted = plan.diameter_px
    factor = wanted / (example.diameter_px or wanted) if wanted else 1.0
    sides = np.array((plan.depth_px / example.anisotropy, plan.patch_px, plan.patch_px)[-plan.ndim :]) / factor
    places = np.argwhere(example.labels != NOT_PAINTED)
    return len(np.unique(places // np.maximum(1, sides), axis=0))


def with_steps_in(
    minutes: float, plan: TrainingConfig, data: Dataset, device: str, checkpoint: Path
) -> Job[TrainingConfig]:
    """Set steps and validations to fit into a time: as at the start of the run, or measured now."""
    finish_writing()
    if checkpoint.exists():
        then = read_checkpoint(checkpoint)[1]["identity"]
        known = {name: then[name] for name in ("steps", "validations") if then.get(name) is not None}
        return replace(plan, **known)
    trial = learn(data.learn, replace(plan, steps=10**6), device=device)
    yield from skip_to_next_step(trial)  # the first step is slower than the others
    start = time.perf_counter()
    for _ in range(TIMED_STEPS):
        yield from skip_to_next_step(trial)
    seconds = (time.perf_counter() - start) / TIMED_STEPS
    trial.close()
    return fit_to_time(60 * minutes, seconds, plan, data)


def skip_to_next_step(trial: Job[Any]) -> Job[None]:
    """Advance a trial to the end of a step, past the work before the first step.

    Its progress is not passed on, because it would look like progress of the training.
    """
    while True:
        data = next(trial).data or {}
        yield Progress(0, 1, "Measuring how long a step takes")
        if "loss" in data:
            return


def fit_to_time(seconds: float, of_step: float, plan: TrainingConfig, data: Dataset) -> TrainingConfig:
    """Return the configuration with the steps and validations (at most those planned) that fit into a time.

    `of_step` are the seconds per step.
    """
    step_px = plan.batch * plan.patch_px**2 * (plan.depth_px or 1)
    of_validation = FORWARD_SHARE * of_step * sum(example.labels.size for example in data.check) / step_px
    validations = plan.validations
    if of_validation:
        validations = max(1, min(validations, int(SHARE_OF_VALIDATION * seconds / of_validation)))
    left = SHARE_OF_LEARNING * seconds - validations * of_validation
    return replace(plan, steps=max(10, int(left / of_step)), validations=validations)

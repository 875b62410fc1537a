"""Advice to the user, from the annotation and the loss curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from napari_tessera.core.errors import InputError
from napari_tessera.training.data.example import BACKGROUND, NOT_PAINTED, Example

FEWEST_PX = 100
SMALLEST_SHARE = 0.01
"""A class with fewer annotated pixels, or less than this share of the annotation, is rare."""
LARGEST_FACTOR = 8.0
"""Largest factor between the size of objects and their size at the network's scale."""
FEWEST_MEANS = 20
"""Number of loss means that are needed for advice."""
STALLED_RATIO = 0.95
"""A loss above this share of its first value does not fall."""
GOOD_SCORE = 0.7
"""From this score on, the loss need not fall."""
EXPLOSION_RATIO = 2.0
"""A loss of this many times its lowest value explodes."""
LOST_SCORE = 0.05
"""A score this far below the best one, while the loss falls, means overfitting."""

USE_ALL_NUMBERS = "Paint some of it, or number the classes without gaps: 1 for background, then 2, 3 and so on."


@dataclass(frozen=True)
class Advice:
    """Advice on one problem."""

    about: str  # such as "rare class"
    text: str  # the problem, and what to do


def advice_on_paint(
    pixels: Mapping[int, int], names: Sequence[str], examples: Sequence[Example], diameter_px: float | None, reason: str
) -> list[Advice]:
    """Check the annotation before training; `advice_on_images` checks the images.

    Parameters
    ----------
    pixels : mapping of int to int
        Annotated pixels of each number: 1 background, 2… classes or objects.
    names : sequence of str
        Names of the classes, background first, if any.
    diameter_px : float or None
        Usual object diameter at the network's scale; None for classes.
    reason : str
        Why nothing is held out for validation; empty if something is.
    """
    found = list(_on_background(pixels))
    if diameter_px is None:
        found += _on_rare_classes(pixels, names)
    else:
        found += _on_sizes(examples, diameter_px)
    return [*found, Advice("nothing held back", reason)] if reason else found


def _on_background(pixels: Mapping[int, int]) -> Iterator[Advice]:
    if not pixels.get(BACKGROUND):
        yield Advice(
            "no background",
            "No background is painted, so the network cannot learn it, and will find objects or classes everywhere. "
            "Paint some background with 1, also close to what should be found.",
        )


def _on_rare_classes(pixels: Mapping[int, int], names: Sequence[str]) -> Iterator[Advice]:
    total = sum(pixels.values())
    missing, rare = [], []
    for number in range(BACKGROUND, max(pixels, default=0) + 1):
        count = pixels.get(number, 0)
        name = names[number - 1] if number <= len(names) else f"class number {number}"
        if not count and number > BACKGROUND:
            missing.append(name)
        elif count and (count < FEWEST_PX or count < SMALLEST_SHARE * total):
            rare.append((name, count))
    if missing:
        yield Advice(
            "rare class", f"Nothing is painted for {listed(missing)}: it will never be found. {USE_ALL_NUMBERS}"
        )
    if rare:
        counts = ", ".join(str(count) for _, count in rare[:3])
        yield Advice(
            "rare class",
            f"Very few pixels of {listed([name for name, _ in rare])} are painted: {counts} of {total}. Paint more; "
            'if the images have no more, choose the Dice loss, or "balanced" class weights.',
        )


def listed(names: Sequence[str]) -> str:
    """Join up to three names.

    Examples
    --------
    >>> listed(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _on_sizes(examples: Sequence[Example], diameter_px: float) -> Iterator[Advice]:
    """Compare the size of annotated objects with the network's; each image once."""
    for name, usual in sorted({(example.name, example.diameter_px) for example in examples if example.diameter_px}):
        factor = diameter_px / usual
        if 1 / LARGEST_FACTOR <= factor <= LARGEST_FACTOR:
            continue
        how = "smaller" if factor > 1 else "larger"
        what = "Take an image of higher resolution" if factor > 1 else "Make the image smaller"
        yield Advice(
            "size",
            f"The objects painted on {name} are usually {usual:.0f} px wide, much {how} than the {diameter_px:.0f} px "
            f"at the network's scale. {what}, or paint whole objects if these are parts of objects.",
        )


def advice_on_course(losses: Sequence[Mapping[str, float]], history: Sequence[Mapping[str, float]]) -> list[Advice]:
    """Check the course of a training: `losses` are means over equal numbers of steps, `history` the validations."""
    values = np.array([each["loss"] for each in losses])
    if len(values) < FEWEST_MEANS:
        return []
    quarter = len(values) // 4
    first, last, lowest = values[:quarter].mean(), values[-quarter:].mean(), _running(values, quarter).min()
    if last > EXPLOSION_RATIO * lowest:
        return [
            Advice(
                "loss exploding",
                "The loss grows instead of falling: the training diverges. Stop, look for annotation in the wrong "
                "place or with the wrong number, and train again with full precision, larger batches or another seed.",
            )
        ]
    scores = [entry["score"] for entry in history]
    if last > STALLED_RATIO * first and max(scores, default=0) < GOOD_SCORE:
        return [
            Advice(
                "loss not falling",
                "The loss does not fall: the network cannot learn your annotation from the image. Look for annotation "
                "in the wrong place or with the wrong number; if all is right, train longer, or start from another "
                "model.",
            )
        ]
    return list(_on_scores(scores)) if last <= STALLED_RATIO * first else []


def advice_on_end(losses: Sequence[Mapping[str, float]], history: Sequence[Mapping[str, float]]) -> list[Advice]:
    """Check a finished training; for `losses` and `history` see `advice_on_course`."""
    return [*advice_on_course(losses, history), *_on_nothing_found(history)]


def _on_nothing_found(history: Sequence[Mapping[str, float]]) -> Iterator[Advice]:
    if history and max(entry["score"] for entry in history) == 0:
        yield Advice(
            "nothing found",
            "The network found nothing right in the validation data: the best score is 0. Train for more steps. If it "
            "stays 0, check that the validation and the training images show the same kind of objects, and that the "
            "labels match the images.",
        )


def _running(values: np.ndarray, width: int) -> np.ndarray:
    return np.convolve(values, np.full(width, 1 / width), mode="valid")


def _on_scores(scores: Sequence[float]) -> Iterator[Advice]:
    if len(scores) > 2 and max(scores[-2:]) < max(scores) - LOST_SCORE:
        yield Advice(
            "learnt by heart",
            "The loss falls, but the score on the held-out annotation falls too: the network overfits. "
            "Paint in more places, or train for fewer steps.",
        )


def why_not_validated(check: Sequence[Example], task: Literal["objects", "classes"]) -> str:
    """Return why a validation score would mean nothing; empty if it would mean something.

    Validation needs at least two classes (a network that knows one class is always right), or at least one object.
    """
    numbers = {number for example in check for number in np.unique(example.labels).tolist()} - {NOT_PAINTED}
    what = "one class" if task == "classes" else "background"
    is_telling = len(numbers) > 1 if task == "classes" else max(numbers, default=0) > BACKGROUND
    if is_telling or not check:
        return ""
    return (
        f"The validation data has only {what}, so there can be no meaningful score: no score is given, and the last "
        f"weights are kept. Validate also on images with {'other classes' if task == 'classes' else 'objects'}."
    )


SATURATED_SHARE = 0.02
"""From this share of pixels with the highest value on, an image counts as saturated."""
SATURATED_OBJECTS = 0.1
"""The same on a bright background, as a share of annotated objects or classes, which may extend over their edges."""
FEWEST_VALUES = 3
"""An image with fewer values is a mask, which cannot be saturated."""


@dataclass(frozen=True)
class Exposure:
    """Pixel counts of one example, or of several examples of one image."""

    px: float  # all pixels
    bright_px: float  # those with the highest value
    object_px: float  # the same in annotated objects or classes
    bright_object_px: float
    is_inverted: bool
    """The background is bright, as in stained sections, where it often has the highest value without harm."""
    can_saturate: bool  # it has integer values, and is not a mask
    is_constant: bool

    def __add__(self, other: Exposure) -> Exposure:
        return Exposure(
            self.px + other.px,
            self.bright_px + other.bright_px,
            self.object_px + other.object_px,
            self.bright_object_px + other.bright_object_px,
            self.is_inverted,
            self.can_saturate or other.can_saturate,
            self.is_constant and other.is_constant,
        )

    @property
    def saturated(self) -> float:
        """Share that is too bright: of the image, or of the objects on a bright background."""
        if not self.can_saturate:
            return 0.0
        share = self.bright_object_px / max(1, self.object_px) if self.is_inverted else self.bright_px / self.px
        return share if share > (SATURATED_OBJECTS if self.is_inverted else SATURATED_SHARE) else 0.0


def exposure_of(example: Example) -> Exposure:
    """Measure an example; on a bright background, a pixel is too bright if all its colours are."""
    image, levels = example.image, example.levels
    space = tuple(range(example.labels.ndim))
    highest = np.maximum(image.max(axis=space), levels.high)  # per channel; of the whole image
    bright = image >= highest
    if example.is_coloured:
        bright = bright.all(-1) if levels.inverted else bright.mean(-1)
    is_object = example.labels > BACKGROUND
    return Exposure(
        px=example.labels.size,
        bright_px=float(bright.sum()),
        object_px=float(is_object.sum()),
        bright_object_px=float(bright[is_object].sum()),
        is_inverted=levels.inverted,
        can_saturate=image.dtype.kind in "ui" and not has_few_values(image),
        is_constant=levels.low == levels.high and bool((image.min(axis=space) == image.max(axis=space)).all()),
    )


def has_few_values(image: np.ndarray) -> bool:
    """Return whether an image is a mask or black, so that it has no meaningful highest value."""
    return not image.any() or len(np.unique(image[..., ::7])) < FEWEST_VALUES


def advice_on_images(examples: Sequence[Example]) -> list[Advice]:
    """Check the exposure of the annotated images; refuse them if all with objects or classes are constant."""
    found: dict[str, Exposure] = {}
    for example in examples:
        here = exposure_of(example)
        found[example.name] = found[example.name] + here if example.name in found else here
    return [*_on_constant(found), *_on_saturation(found)]


def _on_constant(found: dict[str, Exposure]) -> Iterator[Advice]:
    used = {name: each for name, each in found.items() if each.object_px}
    constant = [name for name, each in used.items() if each.is_constant]
    if not constant:
        return
    said = (
        f"All pixels of {listed(constant)} have the same value, so the network cannot learn the annotation from it. "
        "Look whether the right file, layer or channel was given"
    )
    if len(constant) == len(used):
        raise InputError(f"{said}.")
    yield Advice("constant", f"{said}, or leave it out.")


def _on_saturation(found: dict[str, Exposure]) -> Iterator[Advice]:
    names = sorted((name for name in found if found[name].saturated), key=lambda name: -found[name].saturated)
    if not names:
        return
    worst = found[names[0]]
    what = "the painted objects or classes on" if worst.is_inverted else "the pixels of"
    several = "" if len(names) == 1 else f" (the highest of {len(names)} such images)"
    but = " If that is a separate class, such as empty glass, ignore this." if worst.is_inverted else ""
    yield Advice(
        "saturated",
        f"{worst.saturated:.0%} of {what} {names[0]}{several} have the highest possible value: the image is saturated, "
        "and shows no detail there. Take it with less light or a shorter exposure, or leave it out."
        f"{but}",
    )

"""Advice to the user, from the annotation and the loss curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from napari_tessera.training.data.example import Example
from napari_tessera.training.data.targets import BACKGROUND, NOT_PAINTED

FEWEST_PX = 100
SMALLEST_SHARE = 0.01
"""A class with fewer painted pixels, or less than this share of all paint, has hardly any."""
LARGEST_FACTOR = 8.0
"""How many times larger or smaller than objects are a network may have to see them."""
FEWEST_MEANS = 20
"""Means of the loss from which on its course is judged."""
FALLEN = 0.95
"""A loss that is still above this share of what it was at first does not fall."""
LEARNT = 0.7
"""A score from which on the network knows what is painted, and its loss may stay where it is."""
GROWN = 2.0
"""A loss this many times the lowest one it had explodes."""
LOST_SCORE = 0.05
"""A score this much below the best one, while the loss falls, means that the paint is learnt by heart."""

USE_ALL_NUMBERS = "Paint some of it, or number the classes without gaps: 1 for background, then 2, 3 and so on."


@dataclass(frozen=True)
class Advice:
    """One thing that is amiss.

    Attributes
    ----------
    about : str
        "rare class", "no background", "nothing held back", "size", "constant", "saturated", "loss not falling", "loss
        exploding", "learnt by heart" or "nothing found".
    text : str
        What it is, and what to do.
    """

    about: str
    text: str


def advice_on_paint(
    pixels: Mapping[int, int], names: Sequence[str], examples: Sequence[Example], diameter_px: float | None, reason: str
) -> list[Advice]:
    """Look at the paint before anything is learnt; for the images under it see `exposure.advice_on_images`.

    Parameters
    ----------
    pixels : mapping of int to int
        Painted pixels of each number: 1 background, 2… classes or objects.
    names : sequence of str
        Names of the classes, background first, where they have any.
    examples : sequence of Example
        What is to be learnt.
    diameter_px : float or None
        Usual diameter of an object at which the network works; None for classes.
    reason : str
        Why nothing is held back to validate on; empty where something is.
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
            "No background is painted, so that the network cannot learn where nothing is, and will find things "
            "everywhere. Paint some of it with 1, also close to what is to be found.",
        )


def _on_rare_classes(pixels: Mapping[int, int], names: Sequence[str]) -> Iterator[Advice]:
    total = sum(pixels.values())
    missing, rare = [], []
    for number in range(BACKGROUND, max(pixels, default=0) + 1):
        count = pixels.get(number, 0)
        name = names[number - 1] if number <= len(names) else f"the class painted with {number}"
        if not count and number > BACKGROUND:
            missing.append(name)
        elif count and (count < FEWEST_PX or count < SMALLEST_SHARE * total):
            rare.append((name, count))
    if missing:
        yield Advice(
            "rare class", f"Nothing of {listed(missing)} is painted: it will never be found. {USE_ALL_NUMBERS}"
        )
    if rare:
        counts = ", ".join(str(count) for _, count in rare[:3])
        yield Advice(
            "rare class",
            f"Hardly any pixels of {listed([name for name, _ in rare])} are painted: {counts} of {total}. Paint more; "
            'if there is no more, choose the Dice loss, or "balanced" class weights.',
        )


def listed(names: Sequence[str]) -> str:
    """Name up to three.

    Examples
    --------
    >>> listed(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _on_sizes(examples: Sequence[Example], diameter_px: float) -> Iterator[Advice]:
    """Compare what is painted with what the network sees; each image once, whatever its number of windows."""
    for name, usual in sorted({(example.name, example.diameter_px) for example in examples if example.diameter_px}):
        factor = diameter_px / usual
        if 1 / LARGEST_FACTOR <= factor <= LARGEST_FACTOR:
            continue
        how = "smaller" if factor > 1 else "larger"
        what = "Take an image of higher resolution" if factor > 1 else "Make the image smaller"
        yield Advice(
            "size",
            f"The objects painted on {name} are usually {usual:.0f} px wide, much {how} than the {diameter_px:.0f} px "
            f"at which the network sees them. {what}, or paint whole objects if these are parts of them.",
        )


def advice_on_course(losses: Sequence[Mapping[str, float]], history: Sequence[Mapping[str, float]]) -> list[Advice]:
    """Look at how a training goes.

    Parameters
    ----------
    losses : sequence of mapping
        Means of the "loss" over equal numbers of steps, in order.
    history : sequence of mapping
        "score" of each validation, in order.
    """
    values = np.array([each["loss"] for each in losses])
    if len(values) < FEWEST_MEANS:
        return []
    quarter = len(values) // 4
    first, last, lowest = values[:quarter].mean(), values[-quarter:].mean(), _running(values, quarter).min()
    if last > GROWN * lowest:
        return [
            Advice(
                "loss exploding",
                "The loss grows instead of falling: the network comes apart. Stop, look for paint that does not lie on "
                "what it names, and train again with full precision, larger batches or another seed.",
            )
        ]
    scores = [entry["score"] for entry in history]
    if last > FALLEN * first and max(scores, default=0) < LEARNT:
        return [
            Advice(
                "loss not falling",
                "The loss does not fall: nothing in the image tells the network why you painted as you did. Look for "
                "paint in the wrong place or with the wrong number; if all is right, train longer, or start from "
                "another model.",
            )
        ]
    return list(_on_scores(scores)) if last <= FALLEN * first else []


def advice_on_end(losses: Sequence[Mapping[str, float]], history: Sequence[Mapping[str, float]]) -> list[Advice]:
    """Look at how a training went; for `losses` and `history` see `advice_on_course`."""
    return [*advice_on_course(losses, history), *_on_nothing_found(history)]


def _on_nothing_found(history: Sequence[Mapping[str, float]]) -> Iterator[Advice]:
    if history and max(entry["score"] for entry in history) == 0:
        yield Advice(
            "nothing found",
            "Nothing of what was held back to validate on was found: the best score is 0. Train for more steps. If it "
            "stays 0, look at the images and labels held back, and at those that are learnt: whether they show the "
            "same kind of thing, and whether the labels lie on it.",
        )


def _running(values: np.ndarray, width: int) -> np.ndarray:
    return np.convolve(values, np.full(width, 1 / width), mode="valid")


def _on_scores(scores: Sequence[float]) -> Iterator[Advice]:
    if len(scores) > 2 and max(scores[-2:]) < max(scores) - LOST_SCORE:
        yield Advice(
            "learnt by heart",
            "The loss falls, but the score on the paint held back does, too: the network learns the paint by heart. "
            "Paint in more places, or train for less long.",
        )


def why_not_validated(check: Sequence[Example], task: Literal["objects", "classes"]) -> str:
    """Return why scores on what is held back would mean nothing; empty where they mean something.

    Of classes there must be two, since a network that knows but one is always right; of objects there must be one.
    """
    numbers = {number for example in check for number in np.unique(example.labels).tolist()} - {NOT_PAINTED}
    what = "of one class" if task == "classes" else "background"
    is_telling = len(numbers) > 1 if task == "classes" else max(numbers, default=0) > BACKGROUND
    if is_telling or not check:
        return ""
    return (
        f"All that there is to validate on is {what}, so that a score would mean nothing: none is given, and the last "
        f"weights are kept. Validate on images with {'other classes' if task == 'classes' else 'objects'}, too."
    )

"""Detect saturated and constant images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from napari_tessera.core.errors import InputError
from napari_tessera.training.data.advice import Advice, listed
from napari_tessera.training.data.example import Example
from napari_tessera.training.data.targets import BACKGROUND

SATURATED_SHARE = 0.02
"""From this share of pixels with the highest value on, an image counts as saturated."""
SATURATED_OBJECTS = 0.1
"""The same on a bright background, as a share of annotated objects or classes, which may extend over their edges."""
FEWEST_VALUES = 3
"""An image with fewer values is a mask, which cannot be saturated."""


@dataclass(frozen=True)
class Exposure:
    """Pixel counts of one example, or of several examples of one image.

    Attributes
    ----------
    px, bright_px : float
        All pixels, and those with the highest value.
    object_px, bright_object_px : float
        The same in annotated objects or classes, without background.
    is_inverted : bool
        The background is bright, as in stained sections, where it often has the highest value without harm.
    can_saturate : bool
        It has integer values, and is not a mask.
    is_constant : bool
    """

    px: float
    bright_px: float
    object_px: float
    bright_object_px: float
    is_inverted: bool
    can_saturate: bool
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
    """Check the exposure of the annotated images.

    Raises
    ------
    InputError
        If all images with objects or classes are constant: there is nothing to learn.
    """
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

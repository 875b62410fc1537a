"""Training task of a click network: windows with one object each, and the clicks of a simulated user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from napari_tessera.inference.click import (
    BEFORE,
    FILLED,
    LARGEST_FACTOR,
    NEGATIVE,
    POSITIVE,
    WINDOW_PX,
    guidance,
    normalised,
)
from napari_tessera.training.data.example import NOT_PAINTED, Example
from napari_tessera.training.data.patches import (
    image_weights,
    plane_placement,
    random_intensity,
    sample_channels,
    sample_labels,
)
from napari_tessera.training.loop import Draw
from napari_tessera.training.losses import ClassLoss
from napari_tessera.training.simulated_user import Placed, near_middle, next_click, objects_of

OBJECT = 2
"""Class of the object in the targets; 1 is everything else, 0 not annotated."""
ROUNDS = (0.6, 0.25, 0.15)
"""Shares of the steps with so many corrections (0, 1, 2) before the one that is learnt from."""
BOXES, BOXES_ALONE = 0.2, 0.8
"""Share of the objects with a box, and share of these without a click."""
JITTER = 0.1
"""Standard deviation by which each side of a box is off, as a share of the object's side."""
FORGOTTEN = 0.15
"""Share of the corrections without the mask so far, as when all clicks are given at once."""
SECOND_LOOKS = 0.5
"""Share of the windows at the scale of a second look; the others are at any scale, as a first look."""
EXTENTS_PX = (5.0, 150.0)
"""Shortest and longest side of an object in a window of a first look."""
FEWEST_PX, MOST_TRIES = 8, 20
"""An object of which a window shows less is not learnt from; after so many tries, another window will do."""
WIDEST = 1.3
"""Longest side of a window, over that of the image."""
INVERTED = 0.3
"""Share of the windows that are shown with bright and dark exchanged."""
HEAVIEST = 12.0
"""Weight of a pixel in and around the smallest objects."""


@dataclass(frozen=True)
class ClickBatch:
    """Windows, each with one object."""

    images: Tensor  # (B, 3, Y, X)
    guidance: Tensor  # (B, 4, Y, X): the first click or the box
    classes: Tensor  # (B, Y, X): 0 not annotated, 1 other, 2 the object
    weight: Tensor  # (B, Y, X)
    rounds: int  # corrections before the prediction that is learnt from
    seed: int


def draw_clicks(
    examples: Sequence[Example], count: int, strength: float, device: torch.device, noise: float = 0.0
) -> Draw:
    """Return the function that draws a batch of `count` windows; see `patches.random_intensity` for `strength`."""
    objects = {index: found for index, each in enumerate(examples) if (found := objects_of(each))}
    chosen = [examples[index] for index in objects]
    weights = image_weights(chosen)

    def draw(rng: np.random.Generator) -> ClickBatch:
        drawn = [
            draw_window(chosen[index], objects[list(objects)[index]], strength, noise, rng)
            for index in rng.choice(len(chosen), count, p=weights)
        ]
        first = [first_guidance(classes == OBJECT, rng) for _, classes in drawn]

        def stacked(arrays: Sequence[np.ndarray]) -> Tensor:
            return torch.from_numpy(np.stack(arrays)).to(device)

        return ClickBatch(
            stacked([image for image, _ in drawn]),
            stacked(first),
            stacked([classes for _, classes in drawn]),
            stacked([pixel_weights(classes == OBJECT) for _, classes in drawn]),
            rounds=int(rng.choice(len(ROUNDS), p=ROUNDS)),
            seed=int(rng.integers(2**63)),
        )

    return draw


def draw_window(
    example: Example, objects: Sequence[Placed], strength: float, noise: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sample a window around one object: its colours (3, Y, X), and uint8 classes (Y, X)."""
    for _ in range(MOST_TRIES):
        number, box = objects[int(rng.integers(len(objects)))]
        centre, factor = placement_of(example, number, box, rng)
        places = plane_placement(WINDOW_PX, rng, factor) + centre[:, None, None].astype(np.float32)
        labels = sample_labels(example.labels, places, NOT_PAINTED)
        classes = np.where(labels == NOT_PAINTED, 0, np.where(labels == number, OBJECT, 1)).astype(np.uint8)
        if np.count_nonzero(classes == OBJECT) >= FEWEST_PX:
            break
    colours = sample_channels(example, places, np.array([factor, factor]))
    colours = random_intensity(colours, rng, strength, example.is_coloured)
    if rng.random() < noise:
        colours = colours + rng.normal(0, rng.uniform(0.01, 0.1), colours.shape[1:]).astype(np.float32)
    return normalised(1 - colours if rng.random() < INVERTED else colours), classes


def placement_of(
    example: Example, number: int, box: tuple[slice, ...], rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Sample the place and the scale at which an object is looked at."""
    side = max(part.stop - part.start for part in box)
    is_second = rng.random() < SECOND_LOOKS
    shortest, longest = EXTENTS_PX
    any_extent = shortest * (longest / shortest) ** rng.random()
    extent = FILLED * WINDOW_PX * float(np.exp(rng.normal(0, 0.3))) if is_second else any_extent
    farthest = WINDOW_PX / WIDEST / max(example.labels.shape)
    factor = min(max(extent / side, farthest), LARGEST_FACTOR)
    if is_second:
        middle = np.array([(part.start + part.stop - 1) / 2 for part in box])
        return middle + rng.normal(0, 0.1 * side, 2), factor
    places = np.argwhere(example.labels[box] == number)
    return rng.choice(places) + [part.start for part in box], factor


def pixel_weights(is_object: np.ndarray) -> np.ndarray:
    """Return how much each pixel counts: the smaller the object, the more in and around it; float32."""
    area = max(1, int(np.count_nonzero(is_object)))
    near = ndimage.binary_dilation(is_object, iterations=max(2, round(0.35 * area**0.5)))
    heavy = np.float32(np.clip(0.1 * is_object.size / area, 1, HEAVIEST))
    return np.where(near, heavy, np.float32(1))


def first_guidance(is_object: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Simulate the first click, or the box."""
    box, positive = None, np.empty((0, 2))
    has_box = is_object.any() and rng.random() < BOXES
    if has_box:
        places = np.argwhere(is_object)
        low, high = places.min(0), places.max(0)
        off = rng.normal(0, JITTER, (2, 2)) * (high - low + 1)
        box = (np.array([low, high]) + off).ravel()
    if is_object.any() and not (has_box and rng.random() < BOXES_ALONE):
        positive = near_middle(is_object, rng)[None]
    return guidance(positive, np.empty((0, 2)), box, None, len(is_object))


def click_loss(net: nn.Module, batch: ClickBatch, class_loss: ClassLoss) -> dict[str, Tensor]:
    """Correct the mask as a user would, as often as the batch says; return the parts of the loss of the last mask."""
    rng = np.random.default_rng(batch.seed)
    drawn = batch.guidance
    for _ in range(batch.rounds):
        with torch.no_grad():
            scores = net(_laid_out(batch.images, drawn))["classes"]
            masks = (scores[:, 1] > scores[:, 0]).cpu().numpy()
        drawn = corrected(drawn, masks, batch.classes.cpu().numpy(), rng)
    return class_loss(net(_laid_out(batch.images, drawn))["classes"], batch.classes, batch.weight)


def _laid_out(images: Tensor, drawn: Tensor) -> Tensor:
    return torch.cat([images, drawn], 1).contiguous(memory_format=torch.channels_last)


def corrected(drawn: Tensor, masks: np.ndarray, classes: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Add to the guidance of each window the mask so far, and the click that corrects it."""
    maps = drawn.cpu().numpy().copy()
    for each, mask, target in zip(maps, masks, classes, strict=True):
        click = next_click(mask, target == OBJECT, target != NOT_PAINTED, rng)
        if click is not None:
            place, adds = click
            channel = POSITIVE if adds else NEGATIVE
            disc = guidance(place[None], np.empty((0, 2)), None, None, len(mask))[POSITIVE]
            each[channel] = np.maximum(each[channel], disc)
        each[BEFORE] = 0 if rng.random() < FORGOTTEN else mask
    return torch.from_numpy(maps).to(drawn.device)

"""A user who clicks, simulated: for the training of a click network, and to measure it.

The first click lies near the middle of the object, or a box is drawn around it; each later click corrects the largest
error of the mask so far.

References
----------
Xu et al. 2016, doi:10.1109/CVPR.2016.47; Sofiiuk et al. 2022, doi:10.1109/ICIP46576.2022.9897365.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_tessera.core.jobs import Job, Progress
from napari_tessera.inference.click import Clicks, FoundObject, Read, deepest, find_object
from napari_tessera.training.data.example import BACKGROUND, NOT_PAINTED, Example

if TYPE_CHECKING:
    from napari_tessera.inference.predictor import Network

Placed = tuple[int, tuple[slice, ...]]
"""The number of an object, and where it lies."""
MOST_OBJECTS = 12
"""Objects of an image that are clicked on for a score, spread over its numbers."""
FEWEST_PX = 12
"""Smaller objects are left out."""
AROUND = 0.5
"""How much of the image around an object is compared, as a share of its longer side on each side, at least."""


def near_middle(mask: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
    """Return a pixel well inside a mask, (y, x); with `rng` any of those far from its edge, mostly."""
    if rng is None:
        return deepest(mask)
    inside = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    least = inside.max() * (0.6 if rng.random() < 0.7 else 0.2)
    return rng.choice(np.argwhere((inside >= least) & mask))


def next_click(
    mask: np.ndarray, truth: np.ndarray, known: np.ndarray, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, bool] | None:
    """Return the click that corrects the largest error, and whether it adds to the mask; None without an error.

    `known` is where there is annotation.
    """
    missing, wrong = truth & ~mask & known, mask & ~truth & known
    depths = [ndimage.distance_transform_edt(np.pad(each, 1)).max() if each.any() else 0.0 for each in (missing, wrong)]
    if not max(depths):
        return None
    adds = depths[0] >= depths[1]
    return near_middle(missing if adds else wrong, rng), adds


def colours_of(image: np.ndarray, window: tuple[slice, ...], is_coloured: bool) -> np.ndarray:
    """Read the colours of a window of an image, float32 (3, Y, X)."""
    part = image[window].astype(np.float32)
    if is_coloured:
        return np.ascontiguousarray(np.moveaxis(part[..., :3], -1, 0))
    return np.broadcast_to(part, (3, *part.shape))


def reader_of(example: Example) -> Read:
    """Return the function that reads the colours of a window of an example."""
    return partial(_colours, example)


def _colours(example: Example, window: tuple[slice, slice]) -> np.ndarray:
    return colours_of(example.image, window, example.is_coloured)


def use(
    network: Network, example: Example, number: int, box: tuple[slice, ...], clicks: int = 1, by_box: bool = False
) -> list[float]:
    """Return the IoU with an object after each of so many clicks; the first may be a box."""
    truth_at = tuple(slice(part.start, part.stop) for part in box)
    own = example.labels[truth_at] == number
    low = np.array([part.start for part in box])
    if by_box:
        high = np.array([part.stop - 1 for part in box])
        asked = Clicks(box=(*low.tolist(), *high.tolist()))
    else:
        asked = Clicks(positive=(tuple((near_middle(own) + low).tolist()),))
    ious = []
    for _ in range(clicks):
        found = find_object(network, reader_of(example), (example.labels.shape[0], example.labels.shape[1]), asked)
        both, corner = _side_by_side(found, example, number, box)
        mask, truth, known = both
        ious.append(iou(mask & known, truth))
        click = next_click(mask, truth, known)
        if click is None:
            ious += [ious[-1]] * (clicks - len(ious))
            break
        place, adds = click
        at = tuple((place + corner).tolist())
        name = "positive" if adds else "negative"
        asked = replace(asked, **{name: (*getattr(asked, name), at)})
    return ious


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """Return the intersection over union of two masks; 0 if both are empty."""
    return int(np.count_nonzero(mask & truth)) / max(1, int(np.count_nonzero(mask | truth)))


def _side_by_side(
    found: FoundObject, example: Example, number: int, box: tuple[slice, ...]
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """Return mask, truth and what is annotated in a part of the image that holds both, and its corner."""
    parts = [box] + ([found.place] if found.mask.size else [])
    low = np.array([min(part[axis].start for part in parts) for axis in range(2)])
    high = np.array([max(part[axis].stop for part in parts) for axis in range(2)])
    mask = np.zeros(high - low, bool)
    if found.mask.size:
        mask[tuple(slice(part.start - a, part.stop - a) for part, a in zip(found.place, low, strict=True))] = found.mask
    paint = example.labels[low[0] : high[0], low[1] : high[1]]
    return (mask, paint == number, paint != NOT_PAINTED), low


def objects_of(example: Example) -> list[Placed]:
    """Return number and place of each object that is not tiny."""
    boxes = ndimage.find_objects(np.maximum(example.labels - BACKGROUND, 0))
    return [
        (number, box)
        for number, box in enumerate(boxes, start=BACKGROUND + 1)
        if box is not None and example.sizes[number] >= FEWEST_PX
    ]


def objects_to_click(example: Example, most: int = MOST_OBJECTS) -> list[Placed]:
    """Return some objects, spread over the numbers."""
    found = objects_of(example)
    if len(found) <= most:
        return found
    return [found[index] for index in np.linspace(0, len(found) - 1, most).round().astype(int)]


def score_clicks(network: Network, examples: Sequence[Example]) -> Job[dict[str, float]]:
    """Score a click network by a simulated user, on some objects of each image.

    Returns
    -------
    dict
        "click" and "box": the mean IoU after one click or box, averaged over the images; "three": after three clicks;
        "click_50": share of the objects with an IoU of 0.5 or more after one click; "score": the mean of the first
        three.
    """
    rows = []
    for done, example in enumerate(examples):
        yield Progress(done, len(examples), f"Clicking on objects of {example.name}")
        chosen = objects_to_click(example)
        if not chosen:
            continue
        by_click = np.array([use(network, example, number, box, 3) for number, box in chosen])
        by_box = np.array([use(network, example, number, box, by_box=True) for number, box in chosen])
        rows.append((by_click[:, 0].mean(), by_click[:, 2].mean(), by_box.mean(), (by_click[:, 0] >= 0.5).mean()))
    click, three, box, share = np.mean(rows, axis=0).tolist()
    return {"score": (click + three + box) / 3, "click": click, "three": three, "box": box, "click_50": share}


def clicked(network: Network, example: Example) -> Job[np.ndarray]:
    """Return labels of the objects that one click each finds."""
    labels = np.zeros(example.labels.shape, np.int32)
    chosen = objects_to_click(example, most=200)
    shape = (example.labels.shape[0], example.labels.shape[1])
    for done, (number, box) in enumerate(chosen):
        yield Progress(done, len(chosen), "Clicking on objects")
        at = near_middle(example.labels[box] == number) + [part.start for part in box]
        found = find_object(network, reader_of(example), shape, Clicks((tuple(at.tolist()),)))
        if found.mask.size:
            labels[found.place][found.mask] = number - BACKGROUND
    return labels

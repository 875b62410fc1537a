"""Where to paint next: the regions of an image in which a network is least sure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_tessera import catalogue
from napari_tessera.jobs import Job, part_of

if TYPE_CHECKING:
    from napari_tessera.large.view import View
    from napari_tessera.train.least_sure import Unsure
    from napari_tessera.train.painting import Painting
    from napari_tessera.validation import Where

# What computes is imported where it is used, in a thread: a widget opens without waiting for it.

LOOK_PX = {2: (384, 384), 3: (16, 192, 192)}
"""How much is looked at at once."""
CONTEXT_PX = {2: (32, 32), 3: (4, 24, 24)}
"""Seen around it, so that what is cut off at its border causes no doubt."""
MOST_LOOKS = 40
"""Of a larger image, so many windows are drawn by lot."""
SCALE_PX = {2: (1536, 1536), 3: (24, 384, 384)}
"""In the middle of a plane or volume, the size of the objects is estimated in so much."""
REGIONS = 12
REGIONS_OF_A_LOOK = 4
SMALLEST_SIDE_PX, LARGEST_SIDE_PX, SIDES_ACROSS = 24, 160, 8
FAINT = 0.25
"""Objects of a Mask R-CNN with a score of so much of the least one are still doubted."""
Place = tuple[int, ...]
Window = tuple[slice, ...]
DoubtOf = Callable[["Painting", "Look"], Job[np.ndarray]]


@dataclass(frozen=True)
class Look:
    """A window of a plane or volume to look at."""

    place: Place
    window: Window


def where_to_paint(
    model: Path,
    painting: Painting,
    ndim: int = 2,
    *,
    most: int = REGIONS,
    seed: int = 0,
    diameter_px: float | None = None,
    device: Where = "auto",
) -> Job[Sequence[Unsure]]:
    """Find the regions in which a model is least sure; what is painted already is left out.

    Parameters
    ----------
    model : path
        A U-Net, for classes or objects, or a Mask R-CNN.
    painting : Painting
        The image and its paint. Of a large one, windows are drawn by lot.
    ndim : {2, 3}
        How many of the last axes are seen together.
    most : int
        Number of regions.
    seed : int
        Of the lots.
    diameter_px : float, optional
        Usual diameter of the objects; estimated once if not given.
    device : {"auto", "cpu", "cuda", "mps"}

    Returns
    -------
    sequence of Unsure
        The least sure first; none where the model is sure of all that it looked at.
    """
    from napari_tessera.nn.loading import load_torch

    yield from part_of(load_torch(), 0, 0, 1)
    from napari_tessera.train.least_sure import Unsure, best_apart, unsure_regions

    shape = tuple(painting.paint.shape)
    looks = looks_at(shape, ndim, MOST_LOOKS, np.random.default_rng(seed))
    side_px = int(np.clip(min(shape[-2:]) // SIDES_ACROSS, SMALLEST_SIDE_PX, LARGEST_SIDE_PX))
    doubt_of = yield from part_of(_looker(model, painting, looks[0].place, ndim, diameter_px, device), 0, 0.1, 1)
    found: list[Unsure] = []
    for done, look in enumerate(looks):
        job = _doubt_in(doubt_of, painting, look)
        doubt = yield from part_of(job, 0.1 + 0.9 * done / len(looks), 0.9 / len(looks), 1)
        for window, mean in unsure_regions(doubt, side_px, max(REGIONS_OF_A_LOOK, -(-most // len(looks)))):
            found.append(Unsure(look.place, _shifted(window, look.window), mean))
    return best_apart(found, most)


def looks_at(shape: Sequence[int], ndim: int, most: int, rng: np.random.Generator) -> list[Look]:
    """Cut an image into windows, and draw some of them by lot where they are too many."""
    outer, space = tuple(shape[:-ndim]), shape[-ndim:]
    counts = tuple(-(-length // side) for length, side in zip(space, LOOK_PX[ndim], strict=True))
    total = prod((*outer, *counts))
    chosen = range(total) if total <= most else sorted(rng.choice(total, most, replace=False).tolist())
    looks = []
    for number in chosen:
        at = tuple(int(each) for each in np.unravel_index(number, (*outer, *counts)))
        window = tuple(
            slice(place * length // count, (place + 1) * length // count)
            for place, length, count in zip(at[len(outer) :], space, counts, strict=True)
        )
        looks.append(Look(at[: len(outer)], window))
    return looks


def _doubt_in(doubt_of: DoubtOf, painting: Painting, look: Look) -> Job[np.ndarray]:
    """Return the doubt in a window, 0 where it is painted; a little more than the window is looked at."""
    ndim = len(look.window)
    shape = painting.paint.shape[-ndim:]
    wide = tuple(
        slice(max(part.start - margin, 0), min(part.stop + margin, length))
        for part, margin, length in zip(look.window, CONTEXT_PX[ndim], shape, strict=True)
    )
    doubt = yield from doubt_of(painting, Look(look.place, wide))
    inner = tuple(
        slice(part.start - outer.start, part.stop - outer.start) for part, outer in zip(look.window, wide, strict=True)
    )
    return np.where(np.asarray(painting.paint[(*look.place, *look.window)]) == 0, doubt[inner], 0)


def _looker(
    model: Path, painting: Painting, place: Place, ndim: int, diameter_px: float | None, device: Where
) -> Job[DoubtOf]:
    """Load the model, and find the size of the objects unless it is given."""
    from napari_tessera.nn.detecting import load_detector
    from napari_tessera.nn.forward import load_network

    is_detector = catalogue.find(str(model)).kind == "mask_rcnn"
    network: Any = load_detector(model, device) if is_detector else load_network(model, device)
    if diameter_px is None and (usual_px := network.header.get("diameter_px")):
        middle = _middle(painting.paint.shape[-ndim:], ndim)
        view = yield from part_of(_view(painting, Look(place, middle), network.header), 0, 1, 2)
        factor = yield from part_of(_scale(network, view, is_detector), 1, 1, 2)
        diameter_px = usual_px / factor
    return partial(_doubt_seen, network, diameter_px, is_detector)


def _doubt_seen(
    network: Any, diameter_px: float | None, is_detector: bool, painting: Painting, look: Look
) -> Job[np.ndarray]:
    from napari_tessera.large.detected_volumes import Searching, find_objects
    from napari_tessera.large.instances import Wanted
    from napari_tessera.large.seeing import Looking
    from napari_tessera.large.volumes import Stacking, segment
    from napari_tessera.nn.detected_objects import Acceptance
    from napari_tessera.train.least_sure import doubt_of_classes, doubt_of_objects

    view = yield from part_of(_view(painting, look, network.header), 0, 1, 10)
    if not is_detector:
        wanted = Wanted("probabilities")
        job = segment(network, view, Looking(diameter_px), wanted, Stacking())
        return doubt_of_classes((yield from part_of(job, 1, 9, 10)))
    least = Acceptance.of(network.header).score
    which = Acceptance.of(network.header, score=FAINT * least)
    labels, rows, _ = yield from part_of(find_objects(network, view, Searching(diameter_px), which), 1, 9, 10)
    return doubt_of_objects(labels, rows.scores, least)


def _view(painting: Painting, look: Look, header: Any) -> Job[View]:
    from napari_tessera.large.view import View
    from napari_tessera.nn.intensity import kind_of

    levels = yield from painting.measure(look.place, kind_of(header))
    image = np.asarray(painting.image[(*look.place, *look.window)])
    spacing = (painting.anisotropy, 1.0, 1.0)[-len(look.window) :]
    return View(image, levels, painting.channels > 0, spacing)


def _scale(network: Any, view: View, is_detector: bool) -> Job[float]:
    from napari_tessera.large import detected_volumes, seeing
    from napari_tessera.nn.detected_objects import Acceptance

    if is_detector:
        which = Acceptance.of(network.header)
        factor, _ = yield from detected_volumes.find_scale(network, view, detected_volumes.Searching(), which)
    else:
        factor, _ = yield from seeing.find_scale(network, view, seeing.Looking())
    return factor


def _middle(shape: Sequence[int], ndim: int) -> Window:
    sides = (min(length, side) for length, side in zip(shape, SCALE_PX[ndim], strict=True))
    return tuple(
        slice((length - side) // 2, (length - side) // 2 + side) for length, side in zip(shape, sides, strict=True)
    )


def _shifted(window: Window, by: Window) -> Window:
    return tuple(
        slice(part.start + outer.start, part.stop + outer.start) for part, outer in zip(window, by, strict=True)
    )

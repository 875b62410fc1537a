"""Score a network on images held back, by segmenting them exactly as a user of the model would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_tessera import catalogue
from napari_tessera.io.short_lived import short_lived_folder
from napari_tessera.jobs import Job, part_of
from napari_tessera.large.view import View
from napari_tessera.methods.mask_rcnn import mask_rcnn
from napari_tessera.methods.unet import unet
from napari_tessera.metrics import evaluation_of_many
from napari_tessera.result import Found

if TYPE_CHECKING:
    from napari_tessera.nn.detecting import Detector
    from napari_tessera.nn.weights import Network
    from napari_tessera.train.examples import Example

Where = Literal["auto", "cpu", "cuda", "mps"]
Task = Literal["objects", "classes"]
NOT_PAINTED, BACKGROUND = 0, 1
LEAST_SCORES = tuple(round(0.05 * step, 2) for step in range(4, 19))
"""Least scores of objects that are tried."""


def score_network(
    net: Network, header: Mapping[str, Any], examples: Sequence[Example], device: Where = "auto"
) -> Job[dict[str, float]]:
    """Score a network on images with paint.

    Parameters
    ----------
    net : UNet or MaskRCNN
    header : mapping
        Of the model file that it would be saved in.
    examples : sequence of Example
    device : {"auto", "cpu", "cuda", "mps"}

    Returns
    -------
    dict
        "score", by which networks are compared, and what it is made of: for objects the mean of AP@0.5 ("ap") and mean
        AP ("map"), each averaged over the images; for classes the mean IoU ("iou") and Dice ("dice") of all classes but
        the background, over all images together. Of a Mask R-CNN the scores are those at the least score of an object
        at which they are best ("least_score").
    """
    from napari_tessera.nn.detector import MaskRCNN

    if isinstance(net, MaskRCNN):
        return (yield from score_detector(net, header, examples, device))
    is_classes = header["task"] == "classes"
    found = yield from part_of(segment_all(net, header, examples, device), 0, 9, 10)
    if not is_classes:
        return (yield from part_of(score_of_objects(found, examples), 9, 1, 10))
    pairs = [compared(labels, example.labels, is_classes) for labels, example in zip(found, examples, strict=True)]
    scores = yield from part_of(evaluation_of_many(pairs, classes=True), 9, 1, 10)
    iou, dice = scores["pooled"]["mean_iou"], scores["pooled"]["mean_dice"]
    return {"score": iou, "iou": iou, "dice": dice}


def score_of_objects(found: Sequence[np.ndarray], examples: Sequence[Example]) -> Job[dict[str, float]]:
    """Score the objects found in images by AP@0.5 and mean AP, averaged over the images."""
    pairs = [compared(labels, example.labels, False) for labels, example in zip(found, examples, strict=True)]
    scores = yield from evaluation_of_many(pairs)
    ap, mean_ap = scores["mean"]["ap"]["0.50"], scores["mean"]["map"]
    return {"score": (ap + mean_ap) / 2, "ap": ap, "map": mean_ap}


def score_detector(
    net: Network, header: Mapping[str, Any], examples: Sequence[Example], device: Where
) -> Job[dict[str, float]]:
    """Score a Mask R-CNN at each of `LEAST_SCORES`, and return the best; the network sees each image once."""
    from napari_tessera.nn.detecting import load_detector

    with saved(net, header) as path:
        found = yield from part_of(see_all(load_detector(path, device), examples), 0, 8, 10)
    scored = []
    for number, least in enumerate(LEAST_SCORES):
        scoring = score_of_objects([each[number] for each in found], examples)
        scores = yield from part_of(scoring, 8 + 2 * number / len(LEAST_SCORES), 2 / len(LEAST_SCORES), 10)
        scored.append(scores | {"least_score": least})
    return max(scored, key=lambda scores: scores["score"])


def see_all(network: Detector, examples: Sequence[Example]) -> Job[list[list[np.ndarray]]]:
    """Segment images at each of `LEAST_SCORES`."""
    found = []
    for done, example in enumerate(examples):
        found.append((yield from part_of(labels_by_least_score(network, example), done, 1, len(examples))))
    return found


def labels_by_least_score(network: Detector, example: Example) -> Job[list[np.ndarray]]:
    """Segment an image at each of `LEAST_SCORES`; its scale is found as the model's header says."""
    from napari_tessera.large.detected_volumes import Searching, find_scale
    from napari_tessera.large.detecting import detect
    from napari_tessera.large.detection_scores import lowest_score
    from napari_tessera.large.found_objects import objects_of
    from napari_tessera.large.second_opinion import judged
    from napari_tessera.nn.detected_objects import Acceptance

    view = View(example.image, example.levels, example.is_coloured, (1.0, 1.0))
    usual = Acceptance.of(network.header)
    known = Searching(known_diameter(example))
    factor, _ = yield from part_of(find_scale(network, view, known, usual), 0, 5, 10)
    lowest = lowest_score(network.header, LEAST_SCORES[0])
    seen = yield from part_of(detect(network, view.laid(factor), view.read, lowest_score=lowest), 5, 3, 10)
    likely = yield from part_of(judged(network, view, seen, factor), 8, 1, 10)
    labels = []
    for least in LEAST_SCORES:
        which = Acceptance.of(network.header, score=least)
        painting = objects_of(likely, view.shape, which, network.settings.is_aligned, 0)
        painted, _, _ = yield from part_of(painting, 9, 1, 10)
        labels.append(painted)
    return labels


def segment_all(
    net: Network, header: Mapping[str, Any], examples: Sequence[Example], device: Where = "auto"
) -> Job[list[np.ndarray]]:
    """Segment images with a network that is not yet a model: the labels of each."""
    labels = []
    with saved(net, header) as path:
        for done, example in enumerate(examples):
            job = segmented(str(path), header["task"], example, device)
            labels.append((yield from part_of(job, done, 1, len(examples))))
    return labels


@contextmanager
def saved(net: Network, header: Mapping[str, Any]) -> Iterator[Path]:
    """Save a network as a model for a while."""
    from napari_tessera.nn.weights import save_model

    with short_lived_folder() as folder:
        path = folder / "trained.safetensors"
        save_model(path, net, header)
        yield path


def segmented(model: str, task: Task, example: Example, device: Where) -> Job[np.ndarray]:
    """Segment one image with the method that the model is made for; of a window, as within its image."""
    spacing = (example.anisotropy, 1.0, 1.0)[-example.labels.ndim :]
    if example.is_window:
        view = View(example.image, example.levels, example.is_coloured, spacing)
        return (yield from seen_by(model, view, task, known_diameter(example), device))
    channel_axis = example.image.ndim - 1 if example.is_coloured else None
    if catalogue.find(model).kind == "mask_rcnn":
        found = yield from mask_rcnn(example.image, model=model, device=device, channel_axis=channel_axis)
        return found.labels
    seeing = unet(example.image, model=model, output=task, device=device, spacing=spacing, channel_axis=channel_axis)
    return Found.of((yield from seeing)).labels


def known_diameter(example: Example) -> float | None:
    """Return the diameter at which to look for objects: in a window too little may be seen to estimate it."""
    return example.diameter_px if example.is_window else None


def seen_by(
    model: str,
    view: View,
    output: Literal["objects", "classes", "probabilities"],
    diameter_px: float | None,
    device: Where,
) -> Job[np.ndarray]:
    """Segment with a model file what may be a part of an image, at the brightness of the whole."""
    from napari_tessera.large.detected_volumes import Searching, find_objects
    from napari_tessera.large.instances import Wanted
    from napari_tessera.large.seeing import Looking
    from napari_tessera.large.volumes import Stacking, segment
    from napari_tessera.nn.detected_objects import Acceptance
    from napari_tessera.nn.detecting import load_detector
    from napari_tessera.nn.forward import load_network

    if catalogue.find(model).kind == "mask_rcnn":
        detector = load_detector(Path(model), device)
        finding = find_objects(detector, view, Searching(diameter_px), Acceptance.of(detector.header))
        labels, _, _ = yield from finding
        return labels
    network = load_network(Path(model), device)
    return (yield from segment(network, view, Looking(diameter_px), Wanted(output, None, None), Stacking()))


def compared(labels: np.ndarray, paint: np.ndarray, is_classes: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and prediction with all left out that the paint says nothing about.

    Parameters
    ----------
    labels : integer array
        As predicted: 0 background, 1… objects or classes.
    paint : integer array
        0 not painted, 1 background, 2… objects or classes.
    is_classes : bool
        Otherwise objects, of which those count that lie mostly where there is paint.
    """
    truth, is_painted = np.maximum(paint - BACKGROUND, 0), paint != NOT_PAINTED
    if is_painted.all():
        return truth, labels
    if is_classes:
        return truth, np.where(is_painted, labels, 0)
    count = int(labels.max(initial=0)) + 1
    all_px = np.bincount(labels.ravel(), minlength=count)
    painted_px = np.bincount(labels[is_painted], minlength=count)
    counts = 2 * painted_px >= all_px
    return truth, np.where(counts[labels], labels, 0)

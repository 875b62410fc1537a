"""Score a network on images held back, by segmenting them exactly as a user of the model would."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_tessera import catalogue
from napari_tessera.jobs import Job, part_of
from napari_tessera.methods.mask_rcnn import mask_rcnn
from napari_tessera.methods.unet import unet
from napari_tessera.metrics import evaluation_of_many

if TYPE_CHECKING:
    from napari_tessera.nn.weights import Network
    from napari_tessera.train.examples import Example

Where = Literal["auto", "cpu", "cuda", "mps"]
NOT_PAINTED, BACKGROUND = 0, 1


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
        the background, over all images together.
    """
    is_classes = header["task"] == "classes"
    found = yield from part_of(segment_all(net, header, examples, device), 0, 9, 10)
    pairs = [compared(labels, example.labels, is_classes) for labels, example in zip(found, examples, strict=True)]
    scores = yield from part_of(evaluation_of_many(pairs, classes=is_classes), 9, 1, 10)
    if is_classes:
        iou, dice = scores["pooled"]["mean_iou"], scores["pooled"]["mean_dice"]
        return {"score": iou, "iou": iou, "dice": dice}
    ap, mean_ap = scores["mean"]["ap"]["0.50"], scores["mean"]["map"]
    return {"score": (ap + mean_ap) / 2, "ap": ap, "map": mean_ap}


def segment_all(
    net: Network, header: Mapping[str, Any], examples: Sequence[Example], device: Where = "auto"
) -> Job[list[np.ndarray]]:
    """Segment images with a network that is not yet a model: the labels of each."""
    from napari_tessera.nn.weights import save_model

    labels = []
    with tempfile.TemporaryDirectory(prefix="tessera-") as folder:
        path = Path(folder) / "trained.safetensors"
        save_model(path, net, header)
        for done, example in enumerate(examples):
            job = segmented(str(path), header["task"], example, device)
            labels.append((yield from part_of(job, done, 1, len(examples))))
    return labels


def segmented(model: str, task: Literal["objects", "classes"], example: Example, device: Where) -> Job[np.ndarray]:
    """Segment one image with the method that the model is made for."""
    channel_axis = example.image.ndim - 1 if example.is_coloured else None
    if catalogue.find(model).kind == "mask_rcnn":
        found = yield from mask_rcnn(example.image, model=model, device=device, channel_axis=channel_axis)
        return found.labels
    spacing = (example.anisotropy, 1.0, 1.0)[-example.labels.ndim :]
    return (
        yield from unet(
            example.image, model=model, output=task, device=device, spacing=spacing, channel_axis=channel_axis
        )
    )


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

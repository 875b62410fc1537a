"""Seconds by part of Mask R-CNN (ResNet-50, pyramid) on the CPU: `python tests/benchmarks/bench_mask_rcnn.py`.

A 512×512 image, which the model scales to 800×800 as the published one does; random weights drawn so that all 1,000
proposals and 100 detections are reached. Parts are medians over the repeats, after one run to warm up. Non-maximum
suppression is part of proposals and of heads, and is also given by itself. With `--crowd N`, also: suppression and
pasting of N objects in a 2048×2048 image.
"""

from __future__ import annotations

import statistics
import sys
import time
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import torch

from napari_tessera.models.mask_rcnn import detections
from napari_tessera.models.mask_rcnn import rpn as proposals
from napari_tessera.models.mask_rcnn.detections import suppress
from napari_tessera.models.mask_rcnn.masks import paint_labels, paste_masks
from napari_tessera.models.mask_rcnn.model import mask_rcnn_resnet50_fpn
from napari_tessera.models.mask_rcnn.transform import image_batch
from napari_tessera.models.unet import fold_normalisation

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.helpers.coco_model import drawn_weights

Seconds = dict[str, float]


@contextmanager
def timed(seconds: Seconds, part: str):
    start = time.perf_counter()
    yield
    seconds[part] += time.perf_counter() - start


@contextmanager
def timed_suppression(seconds: Seconds):
    def timing(*arguments):
        with timed(seconds, "suppression"):
            return suppress(*arguments)

    proposals.suppress = detections.suppress = timing
    yield
    proposals.suppress = detections.suppress = suppress


@torch.inference_mode()
def parts(model: Callable, image: torch.Tensor) -> tuple[Seconds, int, int]:
    """Run the model once, part by part; return also the numbers of proposals and detections."""
    seconds: Seconds = defaultdict(float)
    with timed_suppression(seconds):
        with timed(seconds, "scaling"):
            batch = image_batch([image], model.settings)
        with timed(seconds, "backbone"):
            levels = model.features(batch)
        with timed(seconds, "proposals"):
            [proposed] = model.propose(levels, batch)
        with timed(seconds, "heads"):
            found = model.detect_in_proposals(levels[:4], proposed, batch.shapes[0])
    down, right = batch.growth(0)
    with timed(seconds, "pasting"):
        found = found.scaled(1 / down, 1 / right)
        paste_masks(found.masks, found.boxes, image.shape[-2:])
    return seconds, len(proposed.boxes), len(found.boxes)


def print_parts(side: int, repeats: int) -> None:
    model = mask_rcnn_resnet50_fpn(91)
    weights = drawn_weights(91)
    weights["roi_heads.box_predictor.cls_score.weight"] *= 6  # sure enough of itself to reach the lowest score
    model.load_state_dict(weights)
    model = fold_normalisation(model)
    image = torch.rand(3, side, side, generator=torch.Generator().manual_seed(0))
    _, proposed, found = parts(model, image)
    runs = [parts(model, image)[0] for _ in range(repeats)]
    medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    total = sum(value for name, value in medians.items() if name != "suppression")
    print(f"{side}×{side}, {torch.get_num_threads()} threads, {proposed} proposals, {found} detections: {total:.2f} s")
    for name in ("scaling", "backbone", "proposals", "heads", "pasting", "suppression"):
        print(f"  {name:12s} {medians[name]:7.3f} s  {100 * medians[name] / total:5.1f} %")
    share = 100 * (medians["pasting"] + medians["suppression"]) / total
    print(f"pasting and suppression together: {share:.1f} % (goal: under 10 %)")


def print_crowd(count: int, side: int = 2048) -> None:
    """Time suppression of 4 boxes per object, and pasting, for objects of about 25 pixels."""
    rng = torch.Generator().manual_seed(0)
    centres = torch.rand(count, 2, generator=rng) * side
    many = (centres + 3 * torch.randn(4, count, 2, generator=rng)).reshape(-1, 2)
    half = 10 + 5 * torch.rand(len(many), 2, generator=rng)
    boxes, scores = torch.cat([many - half, many + half], dim=1), torch.rand(len(many), generator=rng)
    seconds: Seconds = defaultdict(float)
    with timed(seconds, "suppression"):
        kept = suppress(boxes, scores, 0.3)
    with timed(seconds, "pasting"):
        painted = paint_labels(torch.rand(len(kept), 28, 28, generator=rng), boxes[kept], (side, side), is_aligned=True)
    print(
        f"{len(boxes)} boxes in {side}×{side}: suppression {seconds['suppression']:.3f} s, {len(kept)} kept; ", end=""
    )
    print(f"made labels in {seconds['pasting']:.3f} s, {int(painted.lost_px.sum())} px shared")


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--crowd", type=int, default=2500, metavar="N", help="0: leave out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print_parts(options.side, options.repeats)
    if options.crowd:
        print_crowd(options.crowd)


if __name__ == "__main__":
    main()

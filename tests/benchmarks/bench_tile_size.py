"""The same labels whatever the tile: `python tests/benchmarks/bench_tile_size.py [--data FOLDER] [--model NAME|PATH]`.

Labels of one tile as large as the image against those of smaller tiles, of float32 against what the processor is
faster at, and of the method on the whole image against those in blocks, with a diameter at which the network's pixels
are not the image's: AP at IoU 0.5 and 0.9, goal 0.99 at 0.5. A seeded image of touching blobs; with `--data` (see
docs/data.md) also the largest test image of each modality.
"""

from __future__ import annotations

import csv
import os
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from field import blob_field
from PIL import Image

from napari_tessera.core.jobs import run_job
from napari_tessera.engine.api import segment
from napari_tessera.inference.decode_unet import UNetOptions, objects_of
from napari_tessera.inference.detections_to_labels import DetectionThresholds
from napari_tessera.inference.normalization import measure_levels
from napari_tessera.inference.pixel_grid import NormalizedImage
from napari_tessera.inference.predictor import Detector, Network, load_detector, load_network
from napari_tessera.inference.segment_mask_rcnn import MaskRCNNOptions, find_objects
from napari_tessera.inference.sliding_window import predict
from napari_tessera.metrics.segmentation import evaluate
from napari_tessera.models.registry import find

GOAL = 0.99
BLOBS = 6000


def images(size: int, data: Path | None) -> Iterator[tuple[str, np.ndarray]]:
    """Yield named images, each cut to `size`."""
    yield "blobs", blob_field(size, BLOBS)
    if data is None:
        return
    with open(data / "index.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    for modality in sorted({row["modality"] for row in rows}):
        of_kind = (row for row in rows if row["modality"] == modality)
        row = max(of_kind, key=lambda row: int(row["height"]) * int(row["width"]))
        image = np.asarray(Image.open(data / "images" / f"{row['name']}.png"))
        yield modality, (image[..., :3] if image.ndim == 3 else image)[:size, :size]


def labels_of(network: Network | Detector, image: np.ndarray, tile_px: int) -> np.ndarray:
    """Segment an image at its own scale."""
    view = NormalizedImage(image, measure_levels(image), image.ndim == 3, (1.0, 1.0))
    if isinstance(network, Detector):
        thresholds = DetectionThresholds.of(network.header)
        return run_job(
            find_objects(network, view, MaskRCNNOptions(tile_px=tile_px, factor=1.0, thresholds=thresholds))
        )[0]
    scores = run_job(predict(network, view.grid_at(1.0), view.read, tile_px=tile_px))
    return run_job(objects_of(scores, network.header, UNetOptions(), view.grid_at(1.0)))


def against(whole: np.ndarray, others: Mapping[str, np.ndarray]) -> float:
    """Print how well others agree, and return the lowest AP."""
    lowest = 1.0
    for what, labels in others.items():
        same = evaluate(whole, labels)["ap"]
        print(f"  {what:13} AP@0.5 {same['0.50']:.4f}, AP@0.9 {same['0.90']:.4f}, {labels.max()} objects", flush=True)
        lowest = min(lowest, same["0.50"])
    return lowest


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="nuclei-unet")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--tiles", type=int, nargs="+", default=[512, 256, 128])
    parser.add_argument("--blocks", type=int, nargs="+", default=[512, 400])
    parser.add_argument("--diameter", type=float, default=28.16)
    parser.add_argument("--data", type=Path, default=os.environ.get("TESSERA_DATA"))
    options = parser.parse_args()
    entry = find(options.model)
    load = load_detector if entry.kind == "mask_rcnn" else load_network
    network, exact = load(entry.path, "cpu"), load(entry.path, "cpu", is_exact=True)
    lowest = 1.0
    for name, image in images(options.size, options.data and Path(options.data) / "nuclei"):
        whole = labels_of(network, image, max(image.shape))
        print(f"{name}, {image.shape[0]}×{image.shape[1]}, {whole.max()} objects, against one tile:")
        others = {f"tiles of {tile}": labels_of(network, image, tile) for tile in options.tiles}
        if network.dtype != exact.dtype:
            others["float32"] = labels_of(exact, image, max(image.shape))
        lowest = min(lowest, against(whole, others))
        settings = {"model": options.model, "diameter": options.diameter}
        whole = segment(entry.kind, image, **settings).labels
        print(f"{name}, {whole.max()} objects at a diameter of {options.diameter} px, against the whole image:")
        blocks = {
            f"blocks of {side}": segment(entry.kind, image, blocks=side, **settings).labels for side in options.blocks
        }
        lowest = min(lowest, against(whole, blocks))
    print(f"lowest AP@0.5 {lowest:.4f}: {'reached' if lowest >= GOAL else 'missed'} (goal {GOAL})")


if __name__ == "__main__":
    main()

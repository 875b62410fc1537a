"""Make the images that models rehearse beside what is painted: python make_rehearsal.py --index FOLDER/index.csv.

The table is that of `make_cells_table.py`. Of each kind of image a few windows are cut from its split `train`, around
objects. Large objects are made smaller, and 16 bits become 8. `docs/data.md` names the sources and their licences.
"""

import argparse
import csv
from collections import defaultdict
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from imageio.v3 import imread
from skimage.transform import rescale

from napari_tessera.training.data.example import as_paint, object_example
from napari_tessera.training.rehearsal import SHIPPED_EXAMPLES, write_examples

FEWEST, MOST = 3, 12
"""Windows of a kind; between these, the square root of how often its images are listed."""
WINDOW_PX = 224
LARGEST_DIAMETER_PX = 40
PERCENTILES = 0.05, 99.95
"""Values that become 0 and 255, of images with 16 bits."""


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--index", type=Path, required=True)
    with open(options.parse_args().index, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    by_kind = defaultdict(list)
    for row in rows:
        by_kind[row["kind"].strip()].append(row)
    rng = np.random.default_rng(0)
    examples = [example for kind in by_kind for example in examples_of(kind, by_kind[kind], rng)]
    write_examples(SHIPPED_EXAMPLES, examples)
    size = SHIPPED_EXAMPLES.stat().st_size / 1e6
    print(f"{SHIPPED_EXAMPLES.name}: {len(examples)} windows of {len(by_kind)} kinds, {size:.1f} MB")


def examples_of(kind, rows, rng):
    """Return windows of images with objects, as many from each image as possible."""
    named = {row["name"]: row for row in rows}
    count = int(np.clip(round(len(rows) ** 0.5), FEWEST, MOST))
    names = rng.permutation(sorted(named))
    examples = (example_of(named[name], kind) for name in cycle(names))
    return [(each, window(each, rng)) for each in islice((each for each in examples if len(each.places)), count)]


def example_of(row, kind):
    """Read an image and its objects, at most as large as `LARGEST_DIAMETER_PX`."""
    image, labels = imread(row["image"]), imread(row["label"]).astype(np.int32)
    image = image[..., :3] if image.ndim == 3 else image
    if image.dtype != np.uint8:
        low, high = np.percentile(image, PERCENTILES)
        image = np.clip((image - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    example = object_example(image, as_paint(labels, "objects"), kind, row["name"])
    if (example.diameter_px or 0) <= LARGEST_DIAMETER_PX:
        return example
    factor = LARGEST_DIAMETER_PX / example.diameter_px
    channel_axis = 2 if image.ndim == 3 else None
    smaller = rescale(image, factor, anti_aliasing=True, channel_axis=channel_axis, preserve_range=True)
    paint = rescale(example.labels, factor, order=0, anti_aliasing=False, preserve_range=True)
    return object_example(smaller.round().astype(np.uint8), paint, kind, row["name"])


def window(example, rng):
    """Choose a window of an image, around one of its objects."""
    centre = rng.choice(example.places)
    starts = [
        int(np.clip(at - WINDOW_PX / 2, 0, max(0, side - WINDOW_PX)))
        for at, side in zip(centre, example.labels.shape, strict=True)
    ]
    return tuple(slice(start, start + WINDOW_PX) for start in starts)


if __name__ == "__main__":
    main()

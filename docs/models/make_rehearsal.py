"""Make the images that the shipped models learn again beside what is painted: python make_rehearsal.py --data FOLDER.

FOLDER holds nuclei/ (see docs/data.md). Some images of each kind are drawn from its split `train`, and of large ones a
window. They are CC0, like all of BBBC038v1; cite Caicedo et al. 2019, doi:10.1038/s41592-019-0612-7.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from imageio.v3 import imread

from napari_tessera.training.data.example import as_paint, object_example
from napari_tessera.training.rehearsal import SHIPPED_EXAMPLES, write_examples

COUNTS = {
    ("fluorescence", "256"): 12,
    ("fluorescence", "360"): 5,
    ("fluorescence", "520"): 5,
    ("fluorescence", "512"): 2,
    ("fluorescence", "603"): 1,
    ("fluorescence", "260"): 1,
    ("stained", "256"): 12,
    ("brightfield", "1024"): 3,
}
"""How many images of each modality and height."""
LARGEST_PX = 256


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True)
    folder = options.parse_args().data / "nuclei"
    with open(folder / "index.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    rng = np.random.default_rng(0)
    examples = []
    for (modality, height), count in COUNTS.items():
        kind = [row for row in rows if (row["modality"], row["height"]) == (modality, height)]
        for index in rng.permutation(len(kind))[:count]:
            name = kind[index]["name"] + ".png"
            image, labels = imread(folder / "images" / name), imread(folder / "labels" / name)
            colours = image[..., :3] if image.ndim == 3 else image
            paint = as_paint(labels.astype(np.int32), "objects")
            examples.append((object_example(colours, paint, f"{modality} {height}", name), window(paint.shape, rng)))
    write_examples(SHIPPED_EXAMPLES, examples)
    print(f"{SHIPPED_EXAMPLES.name}: {len(examples)} images, {SHIPPED_EXAMPLES.stat().st_size / 1e6:.1f} MB")


def window(shape, rng):
    """Choose where a large image is cut."""
    starts = [int(rng.integers(0, max(1, side - LARGEST_PX + 1))) for side in shape]
    return tuple(slice(start, start + LARGEST_PX) for start in starts)


if __name__ == "__main__":
    main()

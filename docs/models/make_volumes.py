"""Write what `nuclei-3d` is trained on: python make_volumes.py --data FOLDER -o FOLDER.

FOLDER holds the sets of REAL as `docs/data.md` describes them. Synthetic volumes come from `sample_data`. The table
`index.csv` names each image, its labels, its split and its kind.
"""

import argparse
import csv
from pathlib import Path

from imageio.v3 import imread

from napari_tessera.core.spatial import Spatial
from napari_tessera.io.tiff import write_tiff
from napari_tessera.sample_data import microscope_volume

REAL = {"nuclei3d_mouse_embryo": (1.75, 0.8, 0.8), "nuclei3d_plant": (1.0, 1.0, 1.0)}
"""Of each set of real volumes: the size of a voxel in micrometres, or (1, 1, 1) where that is not known."""
VALIDATING = 4
FLAT = 2.5
"""Every second synthetic volume whose voxels are at most so much deeper than wide lacks their size, as files do."""


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--count", type=int, default=60, help="number of synthetic volumes")
    options.add_argument("--leave-out", nargs="*", default=[], help="real volumes, such as nuclei3d_plant/001.tif")
    options.add_argument("-o", "--out", type=Path, required=True)
    chosen = options.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    with open(chosen.out / "index.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "label", "split", "kind"])
        for seed in range(chosen.count):
            sample = microscope_volume(seed)
            split = "val" if seed < VALIDATING else "train"
            is_known = seed % 2 == 0 or sample.spatial.anisotropy > FLAT
            spacing = sample.spatial.scale if is_known else (1.0, 1.0, 1.0)
            table.writerow(
                [*write(chosen.out, f"synthetic-{seed}", sample.image, sample.truth, spacing), split, "synthetic"]
            )
        for name, spacing in REAL.items():
            for image in sorted((chosen.data / name / "images").glob("*.tif")):
                if f"{name}/{image.name}" in chosen.leave_out or name in chosen.leave_out:
                    continue
                pixels, truth = imread(image), imread(image.parent.parent / "labels" / image.name)
                # Once with and once without the size of a voxel, where it is known.
                for number, size in enumerate(sorted({spacing, (1.0, 1.0, 1.0)})):
                    stem = f"{name}-{image.stem}-{number}"
                    table.writerow([*write(chosen.out, stem, pixels, truth, size), "train", name])


def write(folder: Path, stem: str, image, truth, spacing):
    """Write a volume and its labels; return their paths."""
    placed = Spatial.with_spacing("ZYX", spacing, "micrometer")
    paths = [(folder / f"{part}-{stem}.tif").resolve() for part in ("image", "label")]
    for path, pixels in zip(paths, (image, truth), strict=True):
        write_tiff(path, pixels, placed, axes="ZYX")
    return paths


if __name__ == "__main__":
    main()

"""Write the table of images that `click` is trained on: python make_click_table.py --data FOLDER -o FOLDER.

It has the images of `cells` (see `make_cells_table.py`), and planes of volumes; `--leave-out` takes sets out.
"""

import csv
from pathlib import Path

import make_cells_table
import numpy as np
from imageio.v3 import imread, imwrite

VOLUMES = {"em_neurites_fib25": 10, "nuclei3d_plant": 6, "nuclei3d_mouse_embryo": 4}
"""Of each set of volumes: every which of its planes is taken."""


def main():
    chosen = make_cells_table.main(also_left_out=VOLUMES)
    with open(chosen.out / "index.csv", "a", newline="") as file:
        table = csv.writer(file)
        for name, every in VOLUMES.items():
            if name not in chosen.leave_out:
                table.writerows(planes_of(chosen.data / name, chosen.out, every))


def planes_of(folder: Path, out: Path, every: int):
    """Yield a row for each plane taken of each volume of a set, across all three axes."""
    for path in sorted((folder / "images").glob("*.tif")):
        image, labels = imread(path), imread(folder / "labels" / path.name)
        for axis in range(3):
            for plane in range(every // 2, image.shape[axis], every):
                name = f"{folder.name}-{path.stem}-{'zyx'[axis]}{plane}"
                for what, array in (("image", image), ("label", labels)):
                    imwrite(out / f"{name}-{what}.tif", np.ascontiguousarray(array.take(plane, axis)))
                yield [(out / f"{name}-{what}.tif").resolve() for what in ("image", "label")] + [
                    name, "train", folder.name
                ]  # fmt: skip


if __name__ == "__main__":
    main()

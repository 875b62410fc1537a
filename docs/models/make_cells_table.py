"""Write the table of images that `cells` is trained on: python make_cells_table.py --data FOLDER -o FOLDER.

FOLDER holds the sets of SETS as `docs/data.md` describes them. The focal planes of a stack become images of their own.
The table `index.csv` has of each image its files, a name that no other set has, its split and its kind; rare kinds are
listed several times.
"""

import argparse
import csv
from pathlib import Path

from imageio.v3 import imread, imwrite

SETS = {
    "nuclei": ("labels", 1),
    "phase_cells_usiigaci": ("labels", 8),
    "yeast_phase": ("labels", 3),
    "yeast_brightfield_traps": ("labels", 1),
    "bacteria_fluo_ecoli": ("labels", 10),
    "em_chloroplasts": ("labels", 6),
    "em_axon_myelin": ("instances", 2),
}
"""Of each set: the folder of its labels, and how often its images of the split `train` are listed."""
STAINED = 3
"""How often images of `train` that the table of `nuclei` calls stained are listed: they vary most."""
OF_NUCLEI = 3
"""Every which of the images of nuclei validates, so that all kinds together weigh about as much."""


def main(also_left_out=()):
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument(
        "--leave-out", nargs="*", default=[], choices=[*SETS, *also_left_out], help="sets that are not listed"
    )
    options.add_argument("-o", "--out", type=Path, required=True)
    chosen = options.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    with open(chosen.out / "index.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "label", "name", "split", "kind"])
        for name in SETS:
            if name not in chosen.leave_out:
                table.writerows(rows_of(chosen.data / name, chosen.out))
    return chosen


def rows_of(folder: Path, out: Path):
    """Yield the rows of one set."""
    labels, times = SETS[folder.name]
    with open(folder / "index.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] != "test"]
    validating = [row for row in rows if row["split"] == "val"]
    kept = validating[:: OF_NUCLEI if folder.name == "nuclei" else 1]
    for row in [row for row in rows if row["split"] == "train"] + kept:
        is_training = row["split"] == "train"
        kind = " ".join((folder.name, row["modality"], row["height"] if folder.name == "nuclei" else ""))
        name = row["name"] if "." in row["name"] else f"{row['name']}.png"
        for image in planes_of(folder / "images" / name, out, is_training):
            label = (folder / labels / name).resolve()
            listed = STAINED if row["modality"] == "stained" else times
            for _ in range(listed if is_training else 1):
                yield [image.resolve(), label, unique_name(folder.name, image), row["split"], kind]


def unique_name(of_set: str, image: Path) -> str:
    """Return a name by which the image is known in the record of a training; the images of nuclei have such names."""
    return image.stem if of_set == "nuclei" or image.stem.startswith(of_set) else f"{of_set}-{image.stem}"


def planes_of(path: Path, out: Path, wants_all: bool):
    """Return the image itself, or a stack's planes (Z, Y, X) as images of their own: all, or the middle one."""
    if path.suffix != ".tif":
        return [path]
    stack = imread(path)
    planes = range(len(stack)) if wants_all else [len(stack) // 2]
    paths = [out / f"{path.parent.parent.name}-{path.stem}-{plane}.tif" for plane in planes]
    for plane, target in zip(planes, paths, strict=True):
        imwrite(target, stack[plane])
    return paths


if __name__ == "__main__":
    main()

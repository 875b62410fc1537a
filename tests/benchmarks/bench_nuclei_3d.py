"""Segment volumes by networks for planes and for volumes: python bench_nuclei_3d.py --data FOLDER.

The sets `nuclei3d_*` (see `docs/data.md`), and other volumes by `--also`, by the public call with default settings;
where the size of a voxel is known, with and without it. AP is TP / (TP + FP + FN) at IoU 0.5.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from imageio.v3 import imread
from nuclei import add_folder_option, score

import napari_tessera as tessera

VOXELS_UM = {"nuclei3d_mouse_embryo": (1.75, 0.8, 0.8)}
"""Of each set: the size of a voxel, where it is known."""


def volumes(data: Path, also: list[list[Path]]) -> Iterator[tuple[str, np.ndarray, np.ndarray, dict[str, Any]]]:
    """Yield name, image, truth and placement of each volume."""
    pairs = [(path, path.parent.parent / "labels" / path.name) for path in data.glob("nuclei3d_*/images/*.tif")]
    for image, truth in [*sorted(pairs), *also]:
        name, pixels, labels = f"{image.parent.parent.name}/{image.stem}", imread(image), imread(truth)
        yield name, pixels, labels.astype(np.int32), {}
        if voxel := VOXELS_UM.get(image.parent.parent.name):
            yield f"{name}, voxel size given", pixels, labels.astype(np.int32), {"spacing": voxel}


def main() -> None:
    """Print the table."""
    parser = ArgumentParser(description=__doc__)
    add_folder_option(parser)
    parser.add_argument("--also", nargs=2, type=Path, action="append", default=[], metavar=("IMAGE", "LABELS"))
    parser.add_argument("--model", action="append", help="models for volumes; nuclei-3d if not given")
    parser.add_argument("--only-3d", action="store_true", help="leave the model for planes out")
    chosen = parser.parse_args()
    ways = {} if chosen.only_3d else {"planes": {"model": "nuclei-unet"}}
    if ways:
        ways["three sides"] = {"model": "nuclei-unet", "volume": "orthogonal"}
    ways |= {Path(model).stem: {"model": model} for model in chosen.model or ["nuclei-3d"]}
    print(f"| volume | objects | {' | '.join(ways)} |\n|---|---|{'---|' * len(ways)}")
    for name, image, truth, placement in volumes(chosen.data, chosen.also):
        cells = []
        for settings in ways.values():
            labels = tessera.segment("unet", image, axes="ZYX", **placement, **settings).labels
            hits, false, missed = score(truth, labels)
            cells.append(f"{hits / max(1, hits + false + missed):.3f} ({hits + false} found)")
        print(f"| {name} | {hits + missed} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

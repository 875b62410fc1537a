"""How the watershed's defaults were found: `python tests/benchmarks/tune_watershed.py --data FOLDER [--every N]`.

Varies one parameter after the other around the defaults and prints AP at IoU 0.5 on the fluorescence images of the
`train` split. The `test` split is not looked at here.
"""

from __future__ import annotations

from argparse import ArgumentParser

import numpy as np
from nuclei import add_folder_option, ap_of, names, score_all

VALUES = {
    "foreground": ("otsu", "li", "isodata", "triangle"),
    "radius": (6.0, 8.0, 12.0, 15.0),
    "sigma": (0.5, 0.7, 1.5),
    "min_distance": (3.0, 4.0, 7.0),
    "prominence": (0.05, 0.08, 0.12, 0.15),
    "max_hole_size": (0, 20, 100, 200),
    "min_size": (10, 30, 40, 50),
    "landscape": ("intensity",),
}


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add_folder_option(parser)
    parser.add_argument("--every", type=int, default=1, help="use every Nth image")
    parser.add_argument("--only", nargs="*", default=list(VALUES), help="parameters to vary")
    options = parser.parse_args()
    variants = [{}, *({name: value} for name in options.only for value in VALUES[name])]
    counts = score_all(options.data, names(options.data, "train")[:: options.every], variants)
    print(f"{'parameters':32s} pooled   mean    TP    FP    FN   ({len(counts)} images)")
    for variant, found in zip(variants, np.moveaxis(counts, 1, 0), strict=True):
        pooled, mean = ap_of(found)
        text = ", ".join(f"{name} = {value}" for name, value in variant.items()) or "defaults"
        print(f"{text:32s} {pooled:.4f} {mean:.4f} " + " ".join(f"{total:5d}" for total in found.sum(0)))


if __name__ == "__main__":
    main()

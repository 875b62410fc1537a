"""Time each step of `refine` on 4096×4096 with about 6,000 objects: seconds, longest step, longest wait of others.

Run with `python tests/benchmarks/bench_refine.py [size]`.
"""

import sys

import numpy as np
from bench_region_growing import timed

from napari_tessera.core.jobs import run_job
from napari_tessera.methods.refine import refine

STEPS = {
    "renumber": {},
    "max_hole_size": {"max_hole_size": 100},
    "split": {"split": True},
    "merge_below": {"merge_below": 400},
    "smooth": {"smooth": 3.0},
    "clear_border": {"clear_border": True},
    "sizes": {"min_size": 50, "max_size": 5000, "keep_largest": 4000},
}


def random_discs(size, count):
    """Return discs at random places, later ones over earlier ones: many touch, some are cut into pieces."""
    rng = np.random.default_rng(0)
    labels = np.zeros((size, size), np.int32)
    for number in range(1, count + 1):
        radius = int(rng.integers(10, 27))
        y, x = rng.integers(0, size, 2)
        rows, columns = slice(max(0, y - radius), y + radius), slice(max(0, x - radius), x + radius)
        places = np.ogrid[rows.start : min(size, rows.stop), columns.start : min(size, columns.stop)]
        inside = (places[0] - y) ** 2 + (places[1] - x) ** 2 < radius**2
        labels[rows, columns][inside] = number
    return labels


if __name__ == "__main__":
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 4096
    labels = random_discs(size, 6000 * size * size // 4096**2)
    for parameters in STEPS.values():
        run_job(refine(labels[:64, :64], **parameters))  # compiles
    for name, parameters in STEPS.items():
        seconds, step, wait, after = timed(refine(labels, **parameters))
        print(
            f"{name:13} {size}×{size}, {len(np.unique(labels)) - 1} → {after.max()} objects: {seconds:.2f} s, "
            f"longest step {step:.2f} s, longest wait {wait * 1e3:.0f} ms",
            flush=True,
        )

"""Watershed against the same steps in scikit-image and SciPy: `python tests/benchmarks/bench_watershed.py`.

Smooth, Otsu, distance, markers, watershed, renumber, on a seeded 4096×4096 16-bit image of about 6,000 touching blobs.
Both run in turns in one process; times are medians. What is compiled at first use is made and timed apart, on a small
image. Memory is the highest resident size of a fresh process during the run less what it held before (image,
libraries), as Linux keeps it (VmHWM, reset before the run).
"""

from __future__ import annotations

import statistics
import time
from argparse import ArgumentParser
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from field import blob_field
from scipy import ndimage
from skimage import feature, filters, measure, segmentation

import napari_tessera as tessera

SAME_STEPS = {
    "foreground": "otsu",
    "sigma": 1.0,
    "min_distance": 7.0,
    "prominence": 0.0,
    "max_hole_size": 0,
    "min_size": 0,
}


def ours(image: np.ndarray) -> np.ndarray:
    return tessera.watershed(image, **SAME_STEPS)


def with_defaults(image: np.ndarray) -> np.ndarray:
    return tessera.watershed(image)


def peer(image: np.ndarray) -> np.ndarray:
    smooth = filters.gaussian(image, 1, preserve_range=True)
    mask = smooth > filters.threshold_otsu(smooth)
    distance = ndimage.distance_transform_edt(mask)
    peaks = feature.peak_local_max(distance, min_distance=7, labels=measure.label(mask), exclude_border=False)
    markers = np.zeros(image.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = segmentation.watershed(-distance, markers, mask=mask)
    return segmentation.relabel_sequential(labels)[0]


RUNS = {"ours, same steps": ours, "scikit-image and SciPy": peer, "ours, defaults": with_defaults}


def timed(run: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    labels = run(image)
    return time.perf_counter() - start, labels


def resident_bytes(entry: str) -> int:
    """Read VmRSS (now) or VmHWM (highest) of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(entry))


def peak_bytes_per_pixel(name: str, side: int) -> float:
    """Measure one run in this, fresh, process."""
    RUNS[name](blob_field(256))
    image = blob_field(side)
    before = resident_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    RUNS[name](image)
    return (resident_bytes("VmHWM") - before) / image.size


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    image, small = blob_field(options.side), blob_field(256)
    for name, run in RUNS.items():
        print(f"first run on 256×256, {name}: {timed(run, small)[0]:.2f} s")
    seconds: dict[str, list[float]] = {name: [] for name in RUNS}
    labels = {}
    for _ in range(options.repeats):
        for name, run in RUNS.items():
            elapsed, labels[name] = timed(run, image)
            seconds[name].append(elapsed)
    reference = "scikit-image and SciPy"
    print(f"\n{options.side}×{options.side}, median of {options.repeats}")
    print(f"{'':24s} seconds   ratio  peak B/px  objects  AP@0.5 with scikit-image's")
    for name in RUNS:
        median = statistics.median(seconds[name])
        ratio = statistics.median(seconds[reference]) / median
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            memory = pool.submit(peak_bytes_per_pixel, name, options.side).result()
        agreement = tessera.evaluate(labels[reference], labels[name], thresholds=(0.5,))["ap"]["0.50"]
        count = labels[name].max()
        print(f"{name:24s} {median:7.2f} {ratio:6.1f}× {memory:9.1f} {count:8d}  {agreement:.4f}")


if __name__ == "__main__":
    main()

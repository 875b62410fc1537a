"""The object table, and runs with it, against the libraries: `python tests/benchmarks/bench_table.py [rounds]`.

The first row is the public call `tessera.segment("kmeans", image, n_clusters=5)` on the colour picture of
`bench_kmeans.py` (RGB 2048×2048, noisy), against scikit-learn's KMeans and `skimage.measure.regionprops_table` with the
same columns. The other rows run methods on its green channel; `share` is which part of a run the table takes, measured
by itself on the same labels in turn with the runs. Times are medians; "processor" is the share or ratio of the
processor seconds of all threads, which other programs disturb less.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from bench_kmeans import NOISE, K, enlarged
from skimage.measure import regionprops_table
from sklearn.cluster import KMeans

import napari_tessera as tessera
from napari_tessera.algorithms.regionprops import measure_objects
from napari_tessera.core.jobs import run_job

COLUMNS = (
    *("label", "num_pixels", "area", "equivalent_diameter_area", "axis_major_length", "axis_minor_length"),
    *("centroid", "bbox", "intensity_mean", "intensity_min", "intensity_max", "intensity_std"),
)
SEEDS_APART_PX = 64


def seconds_of(call: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds that a call takes by the clock, and of all processors."""
    clock, processors = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - clock, time.process_time() - processors


def library_table(labels: np.ndarray, image: np.ndarray) -> dict[str, np.ndarray]:
    """Measure with scikit-image."""
    return regionprops_table(labels, image, properties=COLUMNS)


def library_kmeans(image: np.ndarray) -> dict[str, np.ndarray]:
    """Label with scikit-learn and measure with scikit-image."""
    pixels = image.reshape(-1, image.shape[-1]).astype(np.float32)
    labels = KMeans(K, random_state=0).fit(pixels).labels_.reshape(image.shape[:-1])
    return library_table(labels + 1, image)


def compare(name: str, method: str, image: np.ndarray, rounds: int, library: Any = None, **options: Any) -> None:
    """Print one row: the run, its table, what the table's share is, and the library's whole way, or its table alone."""
    channel_axis = image.ndim - 1 if options.get("axes") == "YXC" else None

    def run() -> Any:
        return tessera.segment(method, image, **options)

    labels = run().labels  # compiles, once per installation
    runs, tables = [], []
    for _ in range(rounds):
        runs.append(seconds_of(run))
        tables.append(seconds_of(lambda: run_job(measure_objects(labels, image, channel_axis=channel_axis))))
    whole, table = np.median(runs, axis=0), np.median(tables, axis=0)
    print(f"{name:20} {labels.max():7} {1e3 * whole[0]:9.1f} {1e3 * table[0]:9.1f}", end="", flush=True)
    print(f" {table[0] / whole[0]:9.1%} {table[1] / whole[1]:9.1%}", end="", flush=True)
    ours, theirs = (whole, lambda: library(image)) if library else (table, lambda: library_table(labels, image))
    peer = np.median([seconds_of(theirs) for _ in range(3 if library else 1)], axis=0)
    times = peer / ours
    print(f"   {'whole way' if library else 'table':9} {peer[0]:7.2f} s {times[0]:7.1f}× {times[1]:7.1f}×", flush=True)


def main(rounds: int) -> None:
    """Print the table."""
    colours = enlarged(NOISE)
    grey = np.ascontiguousarray(colours[..., 1])
    places = np.arange(SEEDS_APART_PX // 2, len(grey), SEEDS_APART_PX)
    seeds = np.stack(np.meshgrid(places, places, indexing="ij"), axis=-1).reshape(-1, 2)
    titles = "objects   run, ms table, ms     share processor   scikit-learn, -image   ratio processor"
    print(f"{f'medians of {rounds}':20} {titles}")
    compare("k-means, RGB", "kmeans", colours, rounds, library_kmeans, n_clusters=K, axes="YXC")
    compare("k-means", "kmeans", grey, rounds, n_clusters=K)
    compare("threshold", "threshold", grey, rounds)
    compare("threshold, objects", "threshold", grey, rounds, output="objects")
    compare("watershed", "watershed", grey, rounds)
    compare("region growing", "region_growing", grey, rounds, seeds=seeds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)

"""The object table, and runs with it, against the libraries: `python tests/benchmarks/bench_table.py [rounds]`.

The first row is the public call `tessera.segment("kmeans", image, k=5)` on the colour picture of `bench_kmeans.py`
(RGB 2048×2048, noisy), against scikit-learn's KMeans and `skimage.measure.regionprops_table` with the same columns. The
other rows run methods on its green channel; `share` is which part of a run the table takes, measured by itself on the
same labels in turn with the runs. Times are medians.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from skimage.measure import regionprops_table
from sklearn.cluster import KMeans

import napari_tessera as tessera
from napari_tessera.algorithms.regionprops import measure_objects
from napari_tessera.core.jobs import run_job
from tests.benchmarks.bench_kmeans import NOISE, K, enlarged

COLUMNS = (
    *("label", "num_pixels", "area", "equivalent_diameter_area", "axis_major_length", "axis_minor_length"),
    *("centroid", "bbox", "intensity_mean", "intensity_min", "intensity_max", "intensity_std"),
)
SEEDS_APART_PX = 64


def seconds_of(call: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


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
    whole, table = float(np.median(runs)), float(np.median(tables))
    print(f"{name:34} {labels.max():7} {1e3 * whole:9.1f} {1e3 * table:8.1f} {table / whole:7.1%}", end="", flush=True)
    ours, theirs = (whole, lambda: library(image)) if library else (table, lambda: library_table(labels, image))
    peer = float(np.median([seconds_of(theirs) for _ in range(3 if library else 1)]))
    print(f"   {'whole way' if library else 'table':9} {peer:7.2f} s {peer / ours:7.1f}×", flush=True)


def main(rounds: int) -> None:
    """Print the table."""
    colours = enlarged(NOISE)
    grey = np.ascontiguousarray(colours[..., 1])
    places = np.arange(SEEDS_APART_PX // 2, len(grey), SEEDS_APART_PX)
    seeds = np.stack(np.meshgrid(places, places, indexing="ij"), axis=-1).reshape(-1, 2)
    print(f"{f'medians of {rounds}':34} objects    run, ms table, ms  share   scikit-learn and scikit-image")
    compare("k-means, RGB", "kmeans", colours, rounds, library_kmeans, k=K, axes="YXC")
    compare("k-means", "kmeans", grey, rounds, k=K)
    compare("threshold", "threshold", grey, rounds)
    compare("threshold, objects", "threshold", grey, rounds, output="objects")
    compare("watershed", "watershed", grey, rounds)
    compare("region growing", "region_growing", grey, rounds, seeds=seeds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)

"""k-means against scikit-learn on all pixels: `python tests/benchmarks/bench_kmeans.py [rounds]`.

The colour picture is scikit-image's `immunohistochemistry`, enlarged four times to 2048×2048 with noise of standard
deviation 6 added, so that it has some 660,000 different colours; once without noise too. The 3-D one is the same
picture's grey values as 64 planes of 256×256. scikit-learn runs with its defaults (k-means++, `n_init="auto"`, which
is one start; tolerance 1e-4) on float32, its faster way; we run with ours. Times are medians of runs taken in
turn; "processor" is the ratio of the processor seconds of all threads, which other programs disturb less.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from scipy import ndimage
from skimage import data
from sklearn.cluster import KMeans

from napari_tessera.core.jobs import run_job
from napari_tessera.methods.kmeans import kmeans

K = 5
SIZE = 2048
NOISE = 6.0


def enlarged(noise: float) -> np.ndarray:
    """Return the colour picture, (2048, 2048, 3) uint8."""
    picture = data.immunohistochemistry().astype(np.float32)
    factor = SIZE / picture.shape[0]
    large = np.stack([ndimage.zoom(picture[..., channel], factor, order=1) for channel in range(3)], axis=-1)
    large += np.random.default_rng(0).normal(0, noise, large.shape)
    return np.clip(np.rint(large), 0, 255).astype(np.uint8)


def ours(image: np.ndarray, channel_axis: int | None) -> np.ndarray:
    """Label with our k-means."""
    return run_job(kmeans(image, n_clusters=K, channel_axis=channel_axis)).labels


def theirs(image: np.ndarray, channel_axis: int | None) -> np.ndarray:
    """Label with scikit-learn."""
    pixels = image.reshape(-1, 1 if channel_axis is None else image.shape[-1]).astype(np.float32)
    return KMeans(K, random_state=0).fit(pixels).labels_


def inertia_of(image: np.ndarray, labels: np.ndarray, channel_axis: int | None) -> float:
    """Sum of squared distances of the pixels to their class's mean, in double precision."""
    pixels = image.reshape(-1, 1 if channel_axis is None else image.shape[-1]).astype(np.float64)
    groups = labels.reshape(-1)
    counts = np.maximum(np.bincount(groups), 1)
    means = np.stack([np.bincount(groups, pixels[:, column]) / counts for column in range(pixels.shape[1])], axis=1)
    return float(((pixels - means[groups]) ** 2).sum())


def timed(label: Callable[[], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the seconds a call takes by the clock and of all processors, and what it returns."""
    clock, processors = time.perf_counter(), time.process_time()
    labels = label()
    return np.array([time.perf_counter() - clock, time.process_time() - processors]), labels


def compare(name: str, image: np.ndarray, channel_axis: int | None, rounds: int) -> None:
    """Print one row of the table."""
    ours(image, channel_axis)  # compiles the loops, once per installation
    mine, peers = [], []
    for _ in range(rounds):
        seconds, labels = timed(lambda: ours(image, channel_axis))
        mine.append(seconds)
        seconds, peer_labels = timed(lambda: theirs(image, channel_axis))
        peers.append(seconds)
    inertias = [inertia_of(image, found, channel_axis) for found in (labels, peer_labels)]
    (clock, processors), (peer_clock, peer_processors) = np.median(mine, axis=0), np.median(peers, axis=0)
    print(
        f"{name:30} {clock:7.3f} s {peer_clock:7.3f} s {peer_clock / clock:6.1f}× "
        f"{peer_processors / processors:10.1f}× {inertias[0] / inertias[1]:10.6f}"
    )


def main(rounds: int) -> None:
    """Print the table."""
    noisy = enlarged(NOISE)
    volume = noisy[..., 1].reshape(64, 256, 256)
    titles = f"{'ours':>9} {'sklearn':>9} {'ratio':>7} {'processor':>11} {'inertia':>10}"
    print(f"{f'k = {K}, medians of {rounds}':30} {titles}")
    compare("RGB 2048×2048, noisy", noisy, 2, rounds)
    compare("RGB 2048×2048, clean", enlarged(0), 2, rounds)
    compare("grey 3-D 64×256×256, 8-bit", volume, None, rounds)
    compare(
        "grey 3-D 64×256×256, 16-bit", volume.astype(np.uint16) * 200 + np.arange(256, dtype=np.uint16), None, rounds
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)

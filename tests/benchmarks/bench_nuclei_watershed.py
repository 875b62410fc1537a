"""Watershed with its defaults on real nuclei: `python tests/benchmarks/bench_nuclei_watershed.py --data FOLDER`.

AP at IoU 0.5, TP / (TP + FP + FN) under an optimal one-to-one matching, on the fluorescence images of one split; the
same parameters for all images. Beside it, what everybody does: Otsu and scikit-image's watershed on the distance.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from nuclei import add_folder_option, ap_of, image_and_truth, names, score, scores
from scipy import ndimage
from skimage import feature, filters, measure, segmentation


def plain_otsu_and_distance(image: np.ndarray) -> np.ndarray:
    """Split Otsu's foreground at the necks of its distance transform."""
    smooth = filters.gaussian(image, 1)
    mask = smooth > filters.threshold_otsu(smooth)
    distance = ndimage.distance_transform_edt(mask)
    regions = measure.label(mask)
    markers = np.zeros(image.shape, np.int32)
    peaks = feature.peak_local_max(distance, min_distance=7, labels=regions, exclude_border=False)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = segmentation.watershed(-distance, markers, mask=mask)
    labels[np.bincount(labels.ravel())[labels] < 30] = 0  # as many as our defaults drop
    return labels


def score_both(data: Path, name: str) -> list[tuple[int, int, int]]:
    image, truth = image_and_truth(data, name)
    grey = image if image.ndim == 2 else image.mean(2)
    return [*scores(data, name, [{}]), score(truth, plain_otsu_and_distance(grey))]


def read_options() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    add_folder_option(parser)
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))
    return parser.parse_args()


def main() -> None:
    options = read_options()
    with ProcessPoolExecutor() as pool:
        counts = np.array(list(pool.map(partial(score_both, options.data), names(options.data, options.split))))
    print(f"nuclei, {options.split} split, fluorescence, {len(counts)} images")
    print(f"{'AP at IoU 0.5':28s} pooled    mean    TP    FP    FN")
    for name, found in (("watershed, defaults", counts[:, 0]), ("plain Otsu and distance", counts[:, 1])):
        pooled, mean = ap_of(found)
        print(f"{name:28s} {pooled:.4f}  {mean:.4f} " + " ".join(f"{total:5d}" for total in found.sum(0)))


if __name__ == "__main__":
    main()

"""Do networks differ from the truth, or from each other? python bench_nuclei_agreement.py --data FOLDER [--split val].

FOLDER holds nuclei/ (see docs/data.md). The shipped U-Net and the shipped Mask R-CNN segment the fluorescence images of
a split with default settings. Each is scored against the truth, and one against the other.
"""

import numpy as np
from nuclei import ap_of, image_and_truth, names, score
from nuclei_table import options

import napari_tessera as tessera
from napari_tessera.core.jobs import run_job
from napari_tessera.core.overlaps import Overlaps, find_overlaps

IOU = 0.5
SMALL = 0.3
"""Of the median area of the image's true nuclei."""


def main():
    chosen = options(__doc__).parse_args()
    pairs = {"U-Net, truth": [], "Mask R-CNN, truth": [], "U-Net, Mask R-CNN": []}
    missed = []
    for name in names(chosen.data, chosen.split)[:: chosen.every]:
        image, truth = image_and_truth(chosen.data, name)
        unet, mask_rcnn = (segmented(method, image) for method in ("unet", "mask_rcnn"))
        for pair, labels in zip(pairs, ((truth, unet), (truth, mask_rcnn), (unet, mask_rcnn)), strict=True):
            pairs[pair].append(score(*labels))
        missed.append(missed_by_both(truth, unet, mask_rcnn))
    print("| pair | images | AP 0.5 | pooled |\n| --- | --- | --- | --- |")
    for pair, counts in pairs.items():
        pooled, mean = ap_of(np.array(counts))
        print(f"| {pair} | {len(counts)} | {mean:.3f} | {pooled:.3f} |")
    nuclei, by_both, small = np.sum(missed, axis=0)
    print(
        f"{nuclei} nuclei, {by_both} missed by both, {small} of these smaller than {SMALL} of the median of their image"
    )


def segmented(method: str, image: np.ndarray) -> np.ndarray:
    return tessera.segment(method, image, axes="YX" if image.ndim == 2 else "YXC").labels


def missed_by_both(truth: np.ndarray, *predictions: np.ndarray) -> tuple[int, int, int]:
    """Count the nuclei, those that no prediction has, and the small ones among these."""
    overlaps = [run_job(find_overlaps(truth, prediction)) for prediction in predictions]
    are_missed = ~np.any([is_found(each) for each in overlaps], axis=0)
    sizes = overlaps[0].truth_px
    are_small = sizes < SMALL * np.median(sizes)
    return len(sizes), int(are_missed.sum()), int((are_missed & are_small).sum())


def is_found(overlaps: Overlaps) -> np.ndarray:
    return np.isin(np.arange(len(overlaps.truth)), overlaps.rows[overlaps.iou > IOU])


if __name__ == "__main__":
    main()

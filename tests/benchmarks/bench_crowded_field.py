"""Find all nuclei of a crowded field: python bench_crowded_field.py --data FOLDER [--split val] [--model NAME|PATH].

The field of 2048×2048 pixels is laid of 256×256 pieces of real fluorescence images with their truth, the fullest there
are (nuclei cut by the edge of a piece are taken out of it); it should hold 2,000 nuclei or more. Every nucleus should
be found as well in the whole field as in crops of 256×256 pixels: recall at IoU 0.5, which may differ by 0.02.
"""

import argparse
import time

import numpy as np
from nuclei import add_folder_option, image_and_truth, names
from skimage.segmentation import clear_border

import napari_tessera as tessera
from napari_tessera.core.labels import renumber

SIDE_PX, CROP_PX = 2048, 256
FEWEST = 2000
SAME_RECALL = 0.02
PIECES = 16
"""So many of the fullest pieces are laid, each as often as needed, turned another way each time."""
OFF_BY_PX = CROP_PX // 2
"""Crops begin here, so that they do not cut where the field was laid together."""


def patches(data, split):
    """Cut 256×256 pieces of comparable brightness, with whole nuclei only, the fullest first."""
    found = []
    for name in names(data, split):
        image, truth = image_and_truth(data, name)
        grey = image if image.ndim == 2 else image.mean(-1)
        low, high = np.percentile(grey, [1, 99.8])
        grey = np.clip((grey - low) / max(high - low, 1e-6), 0, 1.2)
        for y in range(0, grey.shape[0] - CROP_PX + 1, CROP_PX):
            for x in range(0, grey.shape[1] - CROP_PX + 1, CROP_PX):
                place = slice(y, y + CROP_PX), slice(x, x + CROP_PX)
                found.append(whole_nuclei(grey[place], truth[place]))
    return sorted(found, key=lambda pair: -len(np.unique(pair[1])))


def whole_nuclei(image, truth):
    """Take nuclei that touch the edge out of a piece: they get the brightness of its background."""
    kept = clear_border(truth)
    ground = np.median(image[truth == 0]) if (truth == 0).any() else 0.0
    return np.where((truth > 0) & (kept == 0), ground, image), kept


def field(data, split):
    """Lay the fullest pieces side by side, in random order."""
    pieces, rng = patches(data, split)[:PIECES], np.random.default_rng(0)
    image, truth = np.zeros((SIDE_PX, SIDE_PX), np.float32), np.zeros((SIDE_PX, SIDE_PX), np.int32)
    places = [(y, x) for y in range(0, SIDE_PX, CROP_PX) for x in range(0, SIDE_PX, CROP_PX)]
    for number, (y, x) in enumerate(rng.permutation(places)):
        turns, which = divmod(number, len(pieces))
        piece, labels = (np.rot90(each, turns) for each in pieces[which])
        place = slice(y, y + CROP_PX), slice(x, x + CROP_PX)
        image[place] = piece
        truth[place] = np.where(labels > 0, labels + truth.max(), 0)
    return (10_000 * image).astype(np.uint16), renumber(truth)


def found_of(truth, labels):
    """Count the nuclei that were found, and all."""
    counts = tessera.evaluate(truth, labels, thresholds=(0.5,))
    return np.array([counts["tp"]["0.50"], counts["tp"]["0.50"] + counts["fn"]["0.50"]])


def compared_in_crops(image, truth, labels, settings):
    """Count, of the nuclei that lie whole in a crop, those found in the crop alone, those in the field, and all."""
    total = np.zeros(3, int)
    for y in range(OFF_BY_PX, SIDE_PX - CROP_PX + 1, CROP_PX):
        for x in range(OFF_BY_PX, SIDE_PX - CROP_PX + 1, CROP_PX):
            place = slice(y, y + CROP_PX), slice(x, x + CROP_PX)
            known = clear_border(truth[place])
            alone, count = found_of(known, tessera.mask_rcnn(image[place], **settings)[0])
            total += alone, found_of(known, labels[place])[0], count
    return total


def main():
    options = argparse.ArgumentParser(description=__doc__)
    add_folder_option(options)
    options.add_argument("--split", default="val", choices=["val", "test"])
    options.add_argument("--model", help="the shipped one if not given")
    options.add_argument("--diameter", type=float, help="estimated from the whole field if not given")
    chosen = options.parse_args()
    settings = {"model": chosen.model} if chosen.model else {}
    image, truth = field(chosen.data, chosen.split)
    start = time.perf_counter()
    result = tessera.segment("mask_rcnn", image, diameter=chosen.diameter, **settings)
    seconds = time.perf_counter() - start
    labels = result.labels
    print(f"{truth.max()} nuclei in {SIDE_PX}×{SIDE_PX}, {labels.max()} objects found in {seconds:.0f} s")
    print(*result.notes, sep="\n")
    settings["diameter"] = chosen.diameter or usual_diameter(truth)
    alone, within, count = compared_in_crops(image, truth, labels, settings)
    recall, crops, whole = np.divide(*found_of(truth, labels)), alone / count, within / count
    print(f"recall at IoU 0.5 of all nuclei, in the whole field: {recall:.3f}")
    print(f"of the {count} that lie whole in a crop: in the crops {crops:.3f}, in the whole field {whole:.3f}")
    is_met = truth.max() >= FEWEST and abs(crops - whole) <= SAME_RECALL
    print(f"difference {whole - crops:+.3f} (goal: within {SAME_RECALL}): {'met' if is_met else 'missed'}")


def usual_diameter(truth):
    sizes = np.sort(np.bincount(truth.ravel())[1:])
    return float(2 * np.sqrt(sizes[np.searchsorted(sizes.cumsum(), sizes.sum() / 2)] / np.pi))


if __name__ == "__main__":
    main()

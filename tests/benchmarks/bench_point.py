"""Clicks of a simulated user on the objects of all sets in planes: python bench_point.py --data FOLDER [--model NAME].

Of each image of `test` (of `val` where a set has none), some objects are pointed at. Printed are the mean IoU after 1,
2, 3 and 5 clicks, the shares of objects with an IoU of 0.5 or more after one click and after one box, and the time from
a click to its outline (median, 95 %); beside it region growing from the same first clicks, all at once, with the
tolerance that is best for the set. The first click lies in the middle of the object, each further one in the largest
error.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from bench_models import SETS, images_of
from nuclei import add_folder_option
from scipy.ndimage import find_objects

import napari_tessera as tessera
from napari_tessera.inference.predictor import load_network
from napari_tessera.models.registry import find
from napari_tessera.training.data.example import Example, as_paint, object_example
from napari_tessera.training.simulated_user import near_middle, objects_to_click, use

TOLERANCES = (0.02, 0.05, 0.1, 0.2, 0.3)
HEAD = (
    "| set | objects | 1 click | 2 | 3 | 5 | SA50 click | box | SA50 box | ms | 95 % | region growing | its SA50 |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_folder_option(options)
    options.add_argument("--split", default="test", choices=["train", "val", "test"])
    options.add_argument("--model", default="click", help="name or path of a click network")
    options.add_argument("--sets", nargs="*", choices=SETS, default=list(SETS))
    options.add_argument("--objects", type=int, default=25, help="most objects of an image")
    options.add_argument("--every", type=int, default=1, help="take one image in this many")
    options.add_argument("--without-growing", action="store_true", help="leave region growing out, which takes longer")
    chosen = options.parse_args()
    network = load_network(find(chosen.model))
    means = []
    print(HEAD)
    for name in chosen.sets:
        pairs = list(images_of(chosen.data, name, chosen.split))[:: chosen.every]
        if not pairs:
            continue
        examples = [object_example(image, as_paint(truth, "objects")) for image, truth in pairs]
        ious, boxes, seconds, grown = [], [], [], []
        for example in examples:
            objects = objects_to_click(example, chosen.objects)
            for number, box in objects:
                begin = time.perf_counter()
                use(network, example, number, box)
                seconds.append(time.perf_counter() - begin)
                ious.append(use(network, example, number, box, 5))
                boxes.append(use(network, example, number, box, by_box=True)[0])
            if not chosen.without_growing:
                grown.append(growing(example, objects))
        ious, boxes = np.array(ious), np.array(boxes)
        best = max(np.concatenate(grown, 1), key=np.mean) if grown else np.array([np.nan])
        share, by_box = (ious[:, 0] >= 0.5).mean(), (boxes >= 0.5).mean()
        means.append((share, by_box))
        numbers = [*ious.mean(0)[[0, 1, 2, 4]], share, boxes.mean(), by_box]
        times = [f"{1000 * each:.0f}" for each in np.percentile(seconds, [50, 95])]
        cells = [name, len(ious), *(f"{each:.3f}" for each in numbers), *times]
        print("|", " | ".join(map(str, [*cells, f"{best.mean():.3f}", f"{(best >= 0.5).mean():.3f}"])), "|", flush=True)
    print(f"mean over sets: SA50 by click {np.mean(means, 0)[0]:.3f}, by box {np.mean(means, 0)[1]:.3f}")


def growing(example: Example, objects: list[tuple[int, tuple[slice, ...]]]) -> np.ndarray:
    """Return the IoU of each object, grown from its middle, at each tolerance: (tolerances, objects)."""
    middles = [near_middle(example.labels[box] == number) + [part.start for part in box] for number, box in objects]
    axes = "YXC" if example.is_coloured else "YX"
    rows = []
    for tolerance in TOLERANCES:
        found = tessera.segment(
            "region_growing", example.image, axes=axes, seeds=np.array(middles), tolerance=tolerance, measure=False
        ).labels
        places = find_objects(found)
        row = []
        for middle, (number, box) in zip(middles, objects, strict=True):
            label = int(found[tuple(middle)])
            place = places[label - 1] if label else None
            parts = [box] if place is None else [box, place]
            whole = tuple(
                slice(min(part[axis].start for part in parts), max(part[axis].stop for part in parts))
                for axis in range(2)
            )
            mask, truth = (found[whole] == label) & (label > 0), example.labels[whole] == number
            row.append(np.count_nonzero(mask & truth) / np.count_nonzero(mask | truth))
        rows.append(row)
    return np.array(rows)


if __name__ == "__main__":
    main()

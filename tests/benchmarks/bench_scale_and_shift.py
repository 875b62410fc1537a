"""Which images keep their labels when they are multiplied and moved: all methods by all numeric types.

`python tests/benchmarks/bench_scale_and_shift.py [METHOD ...]` prints a row for each method and way to set it, whole
and in blocks, and where labels differ by how many pixels. A difference of a few pixels is one of rounding: smoothing is
done in float32. Networks are the shipped ones; they take about a minute each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import napari_tessera as tessera
from napari_tessera.core.errors import TesseraError
from napari_tessera.methods.registry import method_named

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.methods.test_scale_and_shift import CASES, COUNTS_FROM_BLACK, SEEDS, SETTINGS, cells, colours

BLOCK_PX = 40
MORE: list[tuple[str, dict[str, Any]]] = [
    *(("threshold", {"method": method, "sigma": 1.0}) for method in ("li", "triangle", "isodata", "local-mean")),
    *(("threshold", {"method": method, "radius": 6}) for method in COUNTS_FROM_BLACK),
    ("threshold", {"axes": "YXC"}),
    ("kmeans", {"axes": "YXC"}),
    ("kmeans", {"axes": "YXC", "sigma": 1.0}),
    *(("watershed", {"landscape": landscape}) for landscape in ("intensity", "gradient")),
    ("watershed", {"axes": "YXC"}),
    *(("region_growing", {"seeds": SEEDS, "criterion": rule}) for rule in ("tolerance", "adaptive", "competing")),
    ("region_growing", {"seeds": SEEDS, "sigma": 1.0}),
    ("panoptic", {"things_from": "watershed", "stuff_from": "threshold"}),
    ("unet", {"diameter": 16.0}),
    ("mask_rcnn", {"diameter": 16.0}),
]


def outcome(run: Callable[[np.ndarray], np.ndarray], image: np.ndarray, change: Callable[..., np.ndarray]) -> str:
    """Run on the image and on the changed one; return "" for the same labels, or else what became of them."""
    try:
        different = int(np.count_nonzero(run(change(image)) != run(image)))
    except TesseraError:
        return "refused"
    return f"DIFFERENT in {different} px" if different else ""


def ways(method: str) -> Iterator[Any]:
    """List how a method can be run: whole, and in blocks where it can."""
    yield False
    if method_named(method).join is not None:
        yield BLOCK_PX


def main(wanted: list[str]) -> None:
    """Print the table."""
    for method, settings in SETTINGS + MORE:
        if wanted and method not in wanted:
            continue
        image = colours() if "axes" in settings else cells()
        for blocks in ways(method):

            def run(changed: np.ndarray, blocks: Any = blocks) -> np.ndarray:
                return tessera.segment(method, changed, blocks=blocks, **settings).labels  # noqa: B023

            said = {name: outcome(run, image, change) for name, change in CASES.items()}
            odd = "; ".join(f"{name}: {each}" for name, each in said.items() if each)
            shown = {key: value for key, value in settings.items() if key != "seeds"}
            same = sum(not each for each in said.values())
            print(f"{method} {shown} {'blocks' if blocks else 'whole'}: {same} of {len(said)} same. {odd}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

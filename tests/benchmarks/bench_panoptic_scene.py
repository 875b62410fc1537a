"""Panoptic quality of a drawn scene beside its working by hand: `python tests/benchmarks/bench_panoptic_scene.py`.

The scene, and the working by hand, are in `tests/helpers/panoptic_scene.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import napari_tessera as tessera

SCORES = ("pq", "sq", "rq")


def main() -> int:
    """Print a line for each class and each mean; return 1 if any number differs."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.helpers.panoptic_scene import HAND_WORKED, PREDICTION, TRUTH

    found = tessera.evaluate_panoptic(TRUTH, PREDICTION)
    print(f"{'':8}{'':4}{'by Tessera':>12}{'by hand':>12}  as a fraction")
    largest = 0.0
    for name in (*HAND_WORKED["classes"], "all", "things", "stuff"):
        scores, worked = (each["classes"].get(name) or each[name] for each in (found, HAND_WORKED))
        for key in SCORES:
            largest = max(largest, abs(scores[key] - float(worked[key])))
            print(f"{name:8}{key.upper():4}{scores[key]:12.6f}{float(worked[key]):12.6f}  {worked[key]}")
    print(f"largest difference: {largest:.1e}")
    return int(largest > 1e-12)


if __name__ == "__main__":
    sys.exit(main())

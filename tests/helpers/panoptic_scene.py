"""A drawn scene of things and stuff, what a method might find in it, and its panoptic quality, worked by hand.

Truth: cells 1, 2, 3 (C), a fibre 4 (F), stuff: medium 5 (m) and glass 6 (g); 0 is void.
Found: cells 1, 2, 3, 8, fibres 4, 7, medium 5, glass 6.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from napari_tessera.core.labels import Segments

_TRUE = np.array(
    [
        [5, 1, 1, 5, 5, 2, 2, 2, 5, 0],
        [5, 1, 1, 5, 5, 2, 2, 2, 5, 0],
        [5, 5, 5, 5, 5, 5, 5, 5, 5, 0],
        [4, 4, 4, 4, 4, 4, 5, 3, 3, 5],
        [6, 6, 6, 6, 6, 6, 6, 6, 6, 6],
        [6, 6, 6, 6, 6, 6, 6, 6, 6, 6],
    ]
)
_FOUND = np.array(
    [
        [5, 1, 1, 1, 5, 2, 2, 5, 5, 8],
        [5, 1, 1, 5, 5, 2, 2, 5, 5, 8],
        [5, 5, 5, 5, 5, 5, 5, 5, 5, 5],
        [4, 4, 4, 7, 7, 7, 5, 5, 5, 3],
        [6, 6, 6, 6, 6, 6, 6, 6, 6, 6],
        [6, 6, 6, 6, 6, 5, 5, 5, 5, 5],
    ]
)


def _segments(labels: np.ndarray, *numbers: int) -> Segments:
    names = {1: "cell", 2: "cell", 3: "cell", 8: "cell", 4: "fibre", 7: "fibre", 5: "medium", 6: "glass"}
    n = len(numbers)
    classes = np.array([names[number] for number in numbers])
    is_thing = np.isin(classes, ["cell", "fibre"])
    return Segments(labels, np.array(numbers), classes, is_thing, np.zeros(n, bool), np.full(n, np.nan))


TRUTH = _segments(_TRUE, 1, 2, 3, 4, 5, 6)
PREDICTION = _segments(_FOUND, 1, 2, 3, 4, 5, 6, 7, 8)

# Cells. 1: 4 pixels, found with one more: IoU 4/5, a match. 2: 6 pixels, found 4 of them: IoU 4/6 = 2/3, a match.
#   3 is missed (the cell found beside it shares no pixel): one FN, one FP. 8 lies in void altogether: no mistake.
#   SQ = (4/5 + 2/3) / 2 = 11/15. RQ = 2 / (2 + 1/2 + 1/2) = 2/3. PQ = 22/45.
# Fibres. 6 pixels, found as two halves of 3: IoU 3/6 is not above a half, so no match: one FN, two FP. All are 0.
# Medium. Truth: row 0: columns 0, 3, 4, 8: 4. Row 1: the same: 4. Row 2: 0 to 8: 9. Row 3: 6, 9: 2. In all 19.
#   Found: row 0: 0, 4, 7, 8: 4. Row 1: 0, 3, 4, 7, 8: 5. Row 2: all 10. Row 3: 6, 7, 8: 3. Row 5: 5 pixels. In all 27.
#   Both: row 0: 0, 4, 8: 3. Row 1: 0, 3, 4, 8: 4. Row 2: 9. Row 3: 6: 1. In all 17. In void: row 2, column 9: 1.
#   IoU = 17 / (19 + 27 - 17 - 1) = 17/28, a match. PQ = SQ = 17/28, RQ = 1.
# Glass. 20 pixels, found 15 of them: IoU 15/20 = 3/4. PQ = SQ = 3/4, RQ = 1.
_PER_CLASS = {
    "cell": {"pq": Fraction(22, 45), "sq": Fraction(11, 15), "rq": Fraction(2, 3)},
    "fibre": {"pq": Fraction(0), "sq": Fraction(0), "rq": Fraction(0)},
    "medium": {"pq": Fraction(17, 28), "sq": Fraction(17, 28), "rq": Fraction(1)},
    "glass": {"pq": Fraction(3, 4), "sq": Fraction(3, 4), "rq": Fraction(1)},
}


def _mean(*names: str) -> dict[str, Fraction]:
    return {key: sum(_PER_CLASS[name][key] for name in names) / Fraction(len(names)) for key in ("pq", "sq", "rq")}


HAND_WORKED = {
    "classes": _PER_CLASS,
    "counts": {
        "cell": {"tp": 2, "fp": 1, "fn": 1},
        "fibre": {"tp": 0, "fp": 2, "fn": 1},
        "medium": {"tp": 1, "fp": 0, "fn": 0},
        "glass": {"tp": 1, "fp": 0, "fn": 0},
    },
    "all": _mean("cell", "fibre", "medium", "glass"),
    "things": _mean("cell", "fibre"),
    "stuff": _mean("medium", "glass"),
}

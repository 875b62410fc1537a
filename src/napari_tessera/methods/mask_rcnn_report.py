"""What a user is told of detected objects: a table with a row for each, and notes on what is not among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_tessera.spec import Table

if TYPE_CHECKING:
    from napari_tessera.large.found_objects import Rows
    from napari_tessera.nn.detected_objects import Acceptance, LeftOut

OF_PLANES = "Objects were counted in each plane, before planes were linked."


def table_of(rows: Rows, classes: Sequence[str]) -> Table:
    """Make the table of the objects 1…N: class by name, score, box, and which share of the mask is hidden.

    Parameters
    ----------
    rows : Rows
    classes : sequence of str
        Names of the classes, background first.
    """
    axes = "zyx"[-rows.low.shape[1] :]
    boxes = {f"box_{axis}0": low for axis, low in zip(axes, rows.low.T, strict=True)}
    boxes |= {f"box_{axis}1": high for axis, high in zip(axes, rows.high.T, strict=True)}
    return {
        "label": np.arange(1, len(rows.scores) + 1),
        "class": np.array(classes)[rows.classes],
        "score": rows.scores,
        **boxes,
        "hidden": rows.lost_px / np.maximum(1, rows.claimed_px),
    }


def notes_on(left: LeftOut, which: Acceptance, is_volume: bool = False) -> tuple[str, ...]:
    """Say in plain sentences what was left out and why, and how much objects overlap; nothing where nothing was.

    In a volume, an object counts in each of its planes.

    Examples
    --------
    >>> from napari_tessera.nn.detected_objects import Acceptance, LeftOut
    >>> notes_on(LeftOut(surplus=3), Acceptance(most=100))
    ('3 objects of lower scores were left out, since `most` is 100. Raise it, or leave it empty, to have them all.',)
    """
    said = {
        f"{_objects(left.surplus)} of lower scores {_were(left.surplus)} left out, since `most` is {which.most}. Raise "
        "it, or leave it empty, to have them all.": left.surplus,
        f"{_objects(left.faint)} scored just below the least score, {which.faintest:.2f} to {which.score:.2f}, and "
        f"{_were(left.faint)} left out. Lower `score` to have them.": left.faint,
        f"{_objects(left.hidden)} {_were(left.hidden)} dropped: more than {which.most_hidden:.0%} of the mask belongs "
        "to objects of higher scores.": left.hidden,
        f"{_objects(left.blank)} {_were(left.blank)} dropped: the mask has no pixel.": left.blank,
        f"{_objects(left.small)} {_were(left.small)} dropped: fewer pixels than `min_size`.": left.small,
        f"{_objects(left.overlapping)} lost {left.shared_px} px to overlapping ones of higher scores; the column "
        "`hidden` says how much of each.": left.overlapping,
        f"{_objects(left.unseen)} that seemed likely {_were(left.unseen)} not looked at: there are too many in one "
        "tile. A smaller `tile` finds more of them.": left.unseen,
    }
    sentences = tuple(sentence for sentence, count in said.items() if count)
    return (*sentences, OF_PLANES) if sentences and is_volume else sentences


def notes_on_blocks(left: LeftOut, which: Acceptance) -> tuple[str, ...]:
    """Say of one block of many what was left out, but not how much: other blocks see some of it again."""
    said = {
        f"Some objects scored just below the least score, {which.faintest:.2f} to {which.score:.2f}, and were left "
        "out. Lower `score` to have them.": left.faint,
        f"Some objects were dropped: more than {which.most_hidden:.0%} of the mask belongs to objects of higher "
        "scores.": left.hidden,
        "Some objects overlap others of higher scores; the column `hidden` says how much.": left.overlapping,
        "Some objects that seemed likely were not looked at: there are too many in one tile. A smaller `tile` finds "
        "more of them.": left.unseen,
    }
    return tuple(sentence for sentence, count in said.items() if count)


def _objects(count: int) -> str:
    return f"{count} object{'' if count == 1 else 's'}"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"

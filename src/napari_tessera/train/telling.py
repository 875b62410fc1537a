"""Whether a score on what is held back tells anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from napari_tessera.train.examples import Example
from napari_tessera.train.targets import BACKGROUND, NOT_PAINTED


def says_nothing(check: Sequence[Example], task: Literal["objects", "classes"]) -> str:
    """Say why scores on what is held back would mean nothing; empty where they mean something.

    Of classes there must be two, since a network that knows but one is always right; of objects there must be one.
    """
    numbers = {number for example in check for number in np.unique(example.labels).tolist()} - {NOT_PAINTED}
    what = "of one class" if task == "classes" else "background"
    is_telling = len(numbers) > 1 if task == "classes" else max(numbers, default=0) > BACKGROUND
    if is_telling or not check:
        return ""
    return (
        f"All that there is to validate on is {what}, so that a score would mean nothing: none is given, and the last "
        f"weights are kept. Validate on images with {'other classes' if task == 'classes' else 'objects'}, too."
    )

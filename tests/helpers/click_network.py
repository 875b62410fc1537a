"""A stand-in for a click network: the bright piece that was clicked on, in the window that it is shown."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_tessera.inference.click import BEFORE, BOX, COLOURS, NEGATIVE, POSITIVE


class BrightPieces:
    """Finds the bright pieces under the clicks, or in the box, less those with a click beside the object.

    `seen` are the batches that it was shown.
    """

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def forward(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Return the chances of background and object, (B, 2, Y, X)."""
        self.seen.append(batch)
        return {"classes": np.stack([self.chances(each) for each in batch])}

    @staticmethod
    def chances(window: np.ndarray) -> np.ndarray:
        """Return the chances in one window."""
        maps = window[COLOURS:]
        pieces, _ = ndimage.label(window[:COLOURS].mean(0) > 0.5)
        meant = set(np.unique(pieces[(maps[POSITIVE] > 0) | (maps[BOX] > 0)])) - set(pieces[maps[NEGATIVE] > 0])
        found = np.isin(pieces, [*(meant - {0})])
        chance = np.where(found, 0.9, 0.1).astype(np.float32)
        return np.stack([1 - chance, chance])


def before_of(batch: np.ndarray) -> np.ndarray:
    """Return the mask so far that a batch of one window shows."""
    return batch[0, COLOURS + BEFORE]

"""The outline of a mask, as lines along the borders of its pixels."""

from __future__ import annotations

import numpy as np


def outline_lines(mask: np.ndarray) -> np.ndarray:
    """Return the lines between the pixels of a mask and those around it.

    Parameters
    ----------
    mask : array of bool
        (Y, X). What lies outside does not belong to the mask.

    Returns
    -------
    array of float
        (N, 2, 2): start and end of each line, as y, x. Centres of pixels are whole numbers. Neighbouring lines in one
        direction are one line.

    Examples
    --------
    >>> outline_lines(np.array([[True, True]])).tolist()[:2]
    [[[-0.5, -0.5], [-0.5, 1.5]], [[0.5, -0.5], [0.5, 1.5]]]
    """
    inside = np.pad(mask, 1)
    along_x = _runs(inside[1:] != inside[:-1])  # (N, 2, 2) in corners of the padded mask
    along_y = _runs((inside[:, 1:] != inside[:, :-1]).T)[..., ::-1]
    return np.concatenate([along_x - np.array([0.5, 1.5]), along_y - np.array([1.5, 0.5])])


def _runs(borders: np.ndarray) -> np.ndarray:
    """Return the first and the last corner of each run along the second axis, (N, 2, 2)."""
    steps = np.diff(borders.astype(np.int8), axis=1, prepend=0, append=0)
    return np.stack([np.argwhere(steps == 1), np.argwhere(steps == -1)], axis=1)

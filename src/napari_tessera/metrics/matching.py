"""One-to-one matches between true and predicted objects."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from napari_tessera.core.overlaps import Overlaps


def match(overlaps: Overlaps, iou: float) -> np.ndarray:
    """Choose pairs of at least `iou` (above 0) so that no object is in two of them; return their positions, ascending.

    The choice is optimal: as many pairs as possible and, among those choices, the largest sum of IoU. Above an IoU of
    0.5 there is nothing to choose, because an object then has one partner at most.
    """
    candidates = np.flatnonzero(overlaps.iou >= iou)
    rows, columns = overlaps.rows[candidates], overlaps.columns[candidates]
    has_one_choice = (np.bincount(rows)[rows] == 1) & (np.bincount(columns)[columns] == 1)
    certain, disputed = candidates[has_one_choice], candidates[~has_one_choice]
    chosen = _assign(overlaps.rows[disputed], overlaps.columns[disputed], overlaps.iou[disputed])
    return np.sort(np.concatenate([certain, disputed[chosen]]))


def _assign(rows: np.ndarray, columns: np.ndarray, iou: np.ndarray) -> np.ndarray:
    """Solve the assignment problem on the listed pairs only; return the positions of the pairs chosen."""
    if not len(rows):
        return np.empty(0, np.intp)
    row_ids, rows = np.unique(rows, return_inverse=True)
    column_ids, columns = np.unique(columns, return_inverse=True)
    count, first_spare = len(row_ids), len(column_ids)
    # Each row also has its own spare column, so that it may stay without a partner. A pair outweighs the IoU
    # of all others together, so that no pair is given up for a better fit elsewhere.
    values = np.concatenate([count + 1 + iou, np.ones(count)])
    all_rows = np.concatenate([rows, np.arange(count)])
    all_columns = np.concatenate([columns, first_spare + np.arange(count)])
    weights = sparse.csr_array((values, (all_rows, all_columns)), (count, first_spare + count))
    _, partners = min_weight_full_bipartite_matching(weights, maximize=True)
    return np.flatnonzero(partners[rows] == columns)

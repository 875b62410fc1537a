"""The method `refine`: clean up labels made by a method or by hand."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from napari_tessera.core.jobs import Job, Progress, subtask
from napari_tessera.core.labels import label_dtype, renumbering
from napari_tessera.core.method import Method
from napari_tessera.core.spec import Labels, Range, ShownIf, Spacing


def refine(
    labels: Labels,
    *,
    max_hole_size: Annotated[int, Range(0, unit="px²")] = 0,
    split: bool = False,
    min_distance: Annotated[float, Range(0, 500, unit="px"), ShownIf("split", True)] = 5.0,
    prominence: Annotated[float, Range(0, 1, step=0.01), ShownIf("split", True)] = 0.1,
    merge_below: Annotated[int, Range(0, unit="px²")] = 0,
    smooth: Annotated[float, Range(0, 50, unit="px", step=0.5)] = 0.0,
    clear_border: bool = False,
    min_size: Annotated[int, Range(0, unit="px²")] = 0,
    max_size: Annotated[int, Range(0, unit="px²")] = 0,
    keep_largest: Annotated[int, Range(0)] = 0,
    renumber: bool = True,
    spacing: Spacing = None,
) -> Job[Labels]:
    """Fill holes, split, merge, smooth, and choose which objects to keep.

    The steps are done in the order of the parameters. Each looks at every object by itself, so that objects that touch
    stay apart. All but the numbering are off to begin with.

    Parameters
    ----------
    labels : array
        (Y, X) or (Z, Y, X) integers; 0 is background, each number is one object.
    max_hole_size : int
        Fill holes of at most this many pixels that one object alone encloses; 0 fills none. Holes hang together
        across the faces of pixels; what touches the image's edge is none.
    split : bool
        Split objects at their necks, by flooding from the places that are furthest from the outline. Parts that do not
        hang together across the faces of pixels become objects of their own.
    min_distance : float
        Smallest distance between the middles of two parts, in pixels along X.
    prominence : float
        How far the distance to the outline must fall between two parts, as a share of that in the middle of the smaller
        one: with 0.1, objects part where the neck is narrower than 90 % of the smaller part. 0 splits at every neck.
    merge_below : int
        Merge objects of fewer pixels than this into the neighbour with which they share the longest border; 0 merges
        none. Objects without neighbours stay as they are.
    smooth : float
        Radius in pixels along X within which outlines are smoothed: every pixel goes to the object, or the background,
        that holds most of the pixels around it. 0 does not smooth. An object that would vanish stays as it is.
    clear_border : bool
        Drop objects that touch the image's edge; in 3-D, the first and the last plane as well.
    min_size, max_size : int
        Drop objects of fewer or of more pixels; 0 means no limit.
    keep_largest : int
        Keep this many of the largest objects, of equals the first in raster order; 0 keeps all.
    renumber : bool
        Number objects 1…N in raster order. Otherwise they keep their numbers, and parts that were split off get
        new ones above the largest.
    spacing : tuple of float, optional
        Size of a pixel along each axis; distances, radii and borders follow it.

    Returns
    -------
    array of int32
        The same shape; int64 where a number is larger.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_tessera as tessera
    >>> tessera.refine(np.array([[4, 4, 0, 9], [4, 4, 0, 0]]), min_size=2)
    array([[1, 1, 0, 0],
           [1, 1, 0, 0]], dtype=int32)
    """
    from napari_tessera.algorithms import relabel as selection
    from napari_tessera.algorithms.label_morphology import (
        fill_label_holes,
        merge_fragments,
        smooth_outlines,
        split_touching,
    )

    work, old = yield from subtask(renumbering(labels), 0, 1, 8)
    if max_hole_size:
        yield from subtask(fill_label_holes(work, max_hole_size), 1, 1, 8)
    if split:
        work = yield from subtask(split_touching(work, min_distance, prominence, spacing), 2, 1, 8)
    if merge_below:
        yield from subtask(merge_fragments(work, merge_below, spacing), 3, 1, 8)
    if smooth:
        work = yield from subtask(smooth_outlines(work, smooth, spacing), 4, 1, 8)
    if clear_border:
        yield from subtask(selection.clear_border(work), 5, 1, 8)
    if min_size or max_size or keep_largest:
        yield from subtask(selection.keep_sizes(work, min_size, max_size, keep_largest), 6, 1, 8)
    if renumber:
        work, _ = yield from subtask(renumbering(work), 7, 1, 8)
        return work
    return (yield from subtask(_with_old_numbers(work, old), 7, 1, 8))


def _with_old_numbers(work: np.ndarray, old: np.ndarray) -> Job[np.ndarray]:
    """Give objects back the numbers they came with; number N + 1 and on were split off."""
    from napari_tessera.algorithms import relabel as selection

    yield Progress(0, 1, "Numbering")
    largest = int(old.max(initial=0))
    split_off = max(0, int(work.max(initial=0)) - len(old))
    numbers = np.concatenate([[0], old, largest + 1 + np.arange(split_off)])
    numbers = numbers.astype(label_dtype(largest + split_off))
    result = np.empty(work.shape, numbers.dtype)
    yield from selection.map_numbers(work, numbers, result)
    return result


METHOD = Method(refine, "Refine labels")

"""Corrections of a label array by hand: delete, merge, split, fill, grow, shrink, smooth, copy, interpolate, draw.

Every function takes labels, (Y, X) or (Z, Y, X) of any integer type, and returns an `Edit`: the part that changes. The
labels are never changed, and no other object loses a pixel, except to `draw` with `over_others`. 0 is background.

`numbers` is the number of one object, or of several; `spacing` is the size of a pixel along each axis, 1 without it. An
object may be in several pieces; pixels that touch at a corner are in one piece.

All functions raise a `ParameterError` if a number is not a whole number above 0, and an `InputError` if the labels are
not integers in 2-D or 3-D, or do not hold the object.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import ndimage

from napari_tessera.algorithms.edited_part import (
    ROUNDING,
    Box,
    Edit,
    Numbers,
    Spacing,
    bounding_box,
    check_distance,
    check_fits,
    check_index,
    check_number,
    distance_inside,
    give_numbers,
    moved,
    part_around,
    pixel_sizes,
    refuse_other_than_labels,
    signed_distance,
)
from napari_tessera.core.checks import check_points, numbers_in
from napari_tessera.core.errors import InputError, short
from napari_tessera.core.labels import connected_components

FARTHEST_PX = 1_000_000
"""A line with vertices farther from the first pixel would take too much memory."""


def delete(labels: np.ndarray, numbers: Numbers) -> Edit:
    """Make objects background."""
    edit, objects = part_around(labels, numbers)
    for number, box in objects.items():
        edit.labels[box][edit.labels[box] == number] = 0
    return edit


def merge(labels: np.ndarray, numbers: Sequence[int]) -> Edit:
    """Give several objects, which need not touch, the first of their numbers; an `InputError` if there is only one.

    Examples
    --------
    >>> labels = np.array([[1, 1, 0, 7], [0, 4, 4, 7]])
    >>> merge(labels, [7, 4]).applied_to(labels)
    array([[1, 1, 0, 7],
           [0, 7, 7, 7]])
    """
    edit, objects = part_around(labels, numbers)
    first, *others = objects
    if not others:
        raise InputError(f"Only object {first} is to be merged. Choose at least two objects.")
    for number in others:
        edit.labels[objects[number]][edit.labels[objects[number]] == number] = first
    return edit


def split_along(labels: np.ndarray, number: int, line: Any, *, free: int | None = None) -> Edit:
    """Split an object along a line that was drawn across it.

    The largest part keeps the number. The others get the numbers `free`, `free` + 1, …, larger parts first. Pieces that
    the line does not cut in two keep the number. Pixels on the line go to the nearest part of their piece.

    Parameters
    ----------
    line : (M, 2) array
        Vertices as y, x in pixels, also outside the object. In a volume the line cuts all planes.
    free : int, optional
        First number for new objects; it and those that follow must not be in use. Without it, highest number + 1.

    Raises
    ------
    InputError
        If the line does not cut the object, or the dtype does not hold the new numbers.
    """
    number = check_number(number, "number")
    edit, _ = part_around(labels, [number])
    parts = _cut(edit.labels == number, _draw_line(line, edit.where))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    count = int(np.count_nonzero(sizes))
    if not count:
        raise InputError(
            f"The line does not cut object {number} in two. Draw it across the object, from outside to outside."
        )
    rank = np.zeros(len(sizes), np.intp)
    rank[np.argsort(-sizes, kind="stable")[:count]] = np.arange(1, count + 1)
    return give_numbers(labels, edit, rank[parts], count, free)


def _draw_line(line: Any, box: Box) -> np.ndarray:
    """Draw a line in the plane of a box; its pixels are connected across faces, so that no corner crosses it."""
    from skimage import draw

    vertices = numbers_in(line, "`line`").astype(float)
    if vertices.ndim != 2 or vertices.shape[1] != 2 or len(vertices) < 2 or not (abs(vertices) <= FARTHEST_PX).all():
        raise InputError(
            f"`line` is {short(line)}, but it must be (M, 2): at least two vertices as y, x in pixels, near the object."
        )
    plane = np.zeros([part.stop - part.start for part in box[-2:]], bool)
    corners = np.rint(vertices).astype(int) - [part.start for part in box[-2:]]
    for start, stop in pairwise(corners):
        y, x = draw.line(*start, *stop)
        y, x = np.append(y, y[1:]), np.append(x, x[:-1])  # the second half turns each diagonal step into two
        is_inside = (y >= 0) & (y < plane.shape[0]) & (x >= 0) & (x < plane.shape[1])
        plane[y[is_inside], x[is_inside]] = True
    return plane


def _cut(own: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Label the parts of each piece that the line cuts in two or more; other pieces are 0."""
    pieces = connected_components(own, own.ndim)
    rest = connected_components(own & ~line, own.ndim)
    parts = np.zeros_like(rest)
    boxes = ndimage.find_objects(pieces)
    for piece in np.setdiff1d(pieces[own & line], 0):
        box = boxes[piece - 1]
        here = pieces[box] == piece
        divided = np.where(here, rest[box], 0)
        if len(np.setdiff1d(divided, 0)) > 1:
            nearest = ndimage.distance_transform_edt(divided == 0, return_distances=False, return_indices=True)
            parts[box][here] = divided[tuple(nearest)][here]
    return parts


def split_by_seeds(
    labels: np.ndarray, number: int, seeds: Any, *, spacing: Spacing = None, free: int | None = None
) -> Edit:
    """Split an object into one part for each seed, by a watershed of the distance to its outline.

    The first seed's part keeps the number. The others get the numbers `free`, `free` + 1, … in the order of the seeds.
    Pieces without a seed keep the number. The array's edge is no outline.

    Parameters
    ----------
    seeds : (K, N) array
        At least two positions inside the object, in pixels.
    free : int, optional
        As in `split_along`.

    Raises
    ------
    InputError
        If there is only one seed, if one is outside the object or on the pixel of another one, or if the dtype does not
        hold the new numbers.

    Examples
    --------
    >>> labels = np.array([[3, 3, 3, 0, 3, 3], [3, 3, 3, 3, 3, 3], [3, 3, 3, 0, 3, 3]])
    >>> split_by_seeds(labels, 3, [[1, 0], [1, 5]]).applied_to(labels)
    array([[3, 3, 3, 0, 4, 4],
           [3, 3, 3, 4, 4, 4],
           [3, 3, 3, 0, 4, 4]])
    """
    from skimage.segmentation import watershed

    number = check_number(number, "number")
    edit, _ = part_around(labels, [number], 1)
    sizes = pixel_sizes(spacing, labels)
    own = edit.labels == number
    places = np.rint(check_points(seeds, "`seeds`", "ZYX"[-labels.ndim :], labels.shape)).astype(int)
    outside = np.flatnonzero(labels[tuple(places.T)] != number)
    if len(outside):
        raise InputError(f"Seed {outside[0] + 1} of {len(places)} is not inside object {number}. Move or delete it.")
    if len(np.unique(places, axis=0)) < max(2, len(places)):
        raise InputError(f"Object {number} needs at least two seeds, each on its own pixel. Put one into each part.")
    markers = np.zeros(own.shape, np.int32)
    markers[tuple((places - [part.start for part in edit.where]).T)] = np.arange(1, len(places) + 1)
    parts = watershed(-distance_inside(own, sizes), markers, connectivity=own.ndim, mask=own)
    return give_numbers(labels, edit, parts, len(places), free)


def fill_holes(labels: np.ndarray, numbers: Numbers) -> Edit:
    """Fill the background that an object encloses, in a volume on all sides; other objects in the hole stay.

    Holes hang together across the faces of pixels; what touches the array's edge is none. A hole inside several of the
    objects goes to the innermost.
    """
    edit, objects = part_around(labels, numbers)
    for number in sorted(objects, key=lambda number: edit.labels[objects[number]].size):
        inner = edit.labels[objects[number]]
        inner[ndimage.binary_fill_holes(inner == number) & (inner == 0)] = number
    return edit


def grow(labels: np.ndarray, numbers: Numbers, distance: float, *, spacing: Spacing = None) -> Edit:
    """Grow objects by a distance, in the unit of `spacing`, onto background only.

    A pixel that several of them reach goes to the nearest one, at equal distances to the first of `numbers`. Distances
    are straight: a large one also reaches behind a neighbour. Raises a `ParameterError` if it is not above 0.

    Examples
    --------
    >>> labels = np.array([[0, 0, 2, 0, 0, 0, 5]])
    >>> grow(labels, 2, 2).applied_to(labels)
    array([[2, 2, 2, 2, 2, 0, 5]])
    """
    reach, sizes = check_distance(distance, "distance"), pixel_sizes(spacing, labels)
    edit, objects = part_around(labels, numbers, [int(reach / step) for step in sizes])
    is_free, nearest = edit.labels == 0, np.full(edit.labels.shape, np.nextafter(reach, np.inf))
    for number, box in objects.items():
        away = distance_inside(edit.labels[box] != number, sizes)
        is_nearer = is_free[box] & (away < nearest[box])
        nearest[box][is_nearer] = away[is_nearer]
        edit.labels[box][is_nearer] = number
    return edit


def shrink(labels: np.ndarray, numbers: Numbers, distance: float, *, spacing: Spacing = None) -> Edit:
    """Remove the pixels of objects within a distance, in the unit of `spacing`, of what is not the object.

    The array's edge is no outline. Raises an `InputError` if an object would vanish, a `ParameterError` if the distance
    is not above 0.
    """
    reach, sizes = check_distance(distance, "distance"), pixel_sizes(spacing, labels)
    edit, objects = part_around(labels, numbers, 1)
    for number, box in objects.items():
        depth = distance_inside(edit.labels[box] == number, sizes)
        if depth.max() <= reach:
            raise InputError(f"Object {number} would vanish. Shrink it by less than {depth.max():.6g}.")
        edit.labels[box][(depth > 0) & (depth <= reach)] = 0
    return edit


def smooth(labels: np.ndarray, numbers: Numbers, radius: float, *, spacing: Spacing = None) -> Edit:
    """Smooth outlines: morphological opening, then closing, by a disc or ball, onto background only.

    Objects are smoothed in the order of `numbers`. If the opening would remove all of an object, it is only closed. The
    array's edge is no outline. `radius` is in the unit of `spacing`. Raises a `ParameterError` if it is not above 0, or
    larger than the array.
    """
    sizes = pixel_sizes(spacing, labels)
    reach = check_distance(radius, "radius", max(np.multiply(labels.shape, sizes)))
    edit, objects = part_around(labels, numbers, 1)
    for number, box in objects.items():
        inner = edit.labels[box]
        own = inner == number
        opened = distance_inside(distance_inside(own, sizes) <= reach, sizes) <= reach
        smoothed = _closed(opened if opened.any() else own, reach, sizes)
        inner[own & ~smoothed] = 0
        inner[smoothed & (inner == 0)] = number
    return edit


def _closed(mask: np.ndarray, reach: float, sizes: tuple[float, ...]) -> np.ndarray:
    """Close a mask, with background around it, so that it does not grow to the array's edge."""
    margins = [int(reach / size) + 1 for size in sizes]
    outside = np.pad(~mask, [(margin, margin) for margin in margins], constant_values=True)
    closed = distance_inside(distance_inside(outside, sizes) <= reach, sizes) > reach
    return closed[tuple(slice(margin, -margin) for margin in margins)]


def copy_plane(labels: np.ndarray, number: int, axis: int, source: int, target: int) -> Edit:
    """Copy the pixels of an object in plane `source` along `axis` to plane `target`, onto background only.

    Raises an `InputError` if there is no such axis or plane, or the object is not in plane `source`.
    """
    refuse_other_than_labels(labels)
    number = check_number(number, "number")
    axis = check_index(axis, "axis", -labels.ndim, labels.ndim) % labels.ndim
    source = check_index(source, "source", 0, labels.shape[axis])
    target = check_index(target, "target", 0, labels.shape[axis])
    before = (slice(None),) * axis
    mask = labels[(*before, slice(source, source + 1))] == number
    box = bounding_box(mask)
    if box is None:
        raise InputError(f"There is no object {number} in plane {source}. Choose a plane that has it.")
    where = (*box[:axis], slice(target, target + 1), *box[axis + 1 :])
    part = np.array(labels[where])
    part[mask[box] & (part == 0)] = number
    return Edit(where, part)


def interpolate(labels: np.ndarray, number: int, axis: int) -> Edit:
    """Fill the planes along `axis` that lie between planes with the object, onto background only.

    Shape-based interpolation: the signed distances to the outline, in pixels of the plane, are interpolated linearly
    (Raya & Udupa 1990, doi:10.1109/42.57771). The array's edge counts as outline. Where two outlines overlap little or
    not at all, planes between them may stay empty. Raises an `InputError` if no plane lies between.

    Examples
    --------
    >>> labels = np.array([[1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]])
    >>> interpolate(labels, 1, axis=0).applied_to(labels)
    array([[1, 1, 1, 1, 1],
           [1, 1, 1, 0, 0],
           [1, 0, 0, 0, 0]])
    """
    number = check_number(number, "number")
    edit, _ = part_around(labels, [number])
    axis = check_index(axis, "axis", -labels.ndim, labels.ndim) % labels.ndim
    planes = np.moveaxis(edit.labels, axis, 0)
    own = planes == number
    painted = np.flatnonzero(own.reshape(len(own), -1).any(axis=1))
    if len(painted) == len(planes):
        raise InputError(f"Object {number} has no gap along axis {axis}. Paint it in two planes that are not adjacent.")
    for before, after in pairwise(painted):
        first, last = signed_distance(own[before]), signed_distance(own[after])
        for plane in range(before + 1, after):
            is_inside = (after - plane) * first + (plane - before) * last >= -ROUNDING
            planes[plane][is_inside & (planes[plane] == 0)] = number
    return edit


def draw(
    labels: np.ndarray, mask: np.ndarray, number: int, *, where: Box | None = None, over_others: bool = False
) -> Edit:
    """Add a drawn shape to an object, which may be new: onto background only, or with `over_others` onto all pixels.

    Parameters
    ----------
    mask : array of bool
        The shape in the part `where` of the labels, one slice for each axis; without it, in the whole array.

    Raises
    ------
    InputError
        If the mask is empty or does not fit the part, or the dtype does not hold the number.
    """
    refuse_other_than_labels(labels)
    number = check_fits(labels, check_number(number, "number"))
    mask, drawn_in = np.asarray(mask), (slice(None),) * labels.ndim if where is None else where
    drawn_in = tuple(slice(*along.indices(n)[:2]) for along, n in zip(drawn_in, labels.shape, strict=True))
    part = labels[drawn_in]
    box = bounding_box(mask) if mask.dtype == bool and mask.shape == part.shape else None
    if box is None:
        raise InputError(
            f"`mask` has shape {mask.shape}, type {mask.dtype} and {np.count_nonzero(mask)} pixels, but it needs shape "
            f"{part.shape}, type bool and at least one pixel. Draw a shape inside the labels."
        )
    changed = np.array(part[box])
    changed[mask[box] & ((changed == 0) | over_others)] = number
    return Edit(moved(box, drawn_in), changed)

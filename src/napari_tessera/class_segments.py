"""From two label images, objects and classes, to segments."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from napari_tessera.errors import InputError
from napari_tessera.labels import Mapping as NumberMapping
from napari_tessera.overlaps import count_pairs
from napari_tessera.segments import Segments
from napari_tessera.whole_numbers import whole_numbers


def segments_of_classes(
    objects: np.ndarray, classes: np.ndarray, names: Mapping[int, str] | None = None, name: str = "labels"
) -> Segments:
    """Take segments from two label images: which object a pixel is in, and which class it has.

    A class is stuff where no pixel of it is in an object: then it is one segment.

    Parameters
    ----------
    objects : array of int
        Numbers of things; 0 where there is none. Two classes may use the same number.
    classes : array of int
        The same shape; 0 is void.
    names : mapping, optional
        Names of the classes by number.
    name : str
        What to call the images in errors.

    Raises
    ------
    InputError
        If the shapes differ, or a class has objects here and none there.
    """
    objects, classes = whole_numbers(objects, f"{name}: objects"), whole_numbers(classes, f"{name}: classes")
    if objects.shape != classes.shape:
        raise InputError(f"{name}: objects have shape {objects.shape} but their classes have {classes.shape}.")
    flat_objects, flat_classes = objects.reshape(-1), classes.reshape(-1)
    of_class, of_object, _ = count_pairs(flat_classes, np.where(flat_classes > 0, flat_objects, 0))
    is_segment = of_class > 0
    of_class, of_object = of_class[is_segment], of_object[is_segment]
    is_thing = of_object > 0
    torn = np.intersect1d(of_class[is_thing], of_class[~is_thing])
    if len(torn):
        raise InputError(
            f"{name}: class {torn[0]} has pixels in objects and pixels in none, so that it is neither thing nor "
            "stuff. Number its objects, or set the other pixels to another class or to 0 (void)."
        )
    labels = _numbered(flat_classes, flat_objects, of_class, of_object).reshape(classes.shape)
    called = names or {}
    words = np.array([called.get(number, f"class {number}") for number in of_class.tolist()], str)
    n = len(of_class)
    return Segments(labels, np.arange(1, n + 1), words, is_thing, np.zeros(n, bool), np.full(n, np.nan))


def _numbered(classes: np.ndarray, objects: np.ndarray, of_class: np.ndarray, of_object: np.ndarray) -> np.ndarray:
    """Give each pair of a class and an object a number, 1…S in their order; void is 0."""
    largest = int(of_object.max(initial=0)) + 1
    keys = np.append(0, of_class.astype(np.int64) * largest + of_object)
    mapping = NumberMapping(keys, np.arange(len(keys), dtype=np.int64))
    return mapping[np.where(classes > 0, classes.astype(np.int64) * largest + objects, 0)]

"""The colours of classes, the same wherever classes are painted or shown."""

from __future__ import annotations

from napari.utils.colormaps import Colormap, CyclicLabelColormap

BACKGROUND = 1
BACKGROUND_COLOUR = "#6f7f95"
CLASS_COLOURS = ("#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#56b4e9", "#0072b2")
"""Told apart also by those who see red and green alike (Okabe and Ito), the most different ones first."""
MOST_CLASSES = 50


def colours_of_classes(has_background: bool = True) -> CyclicLabelColormap:
    """Return the colour of each class: the background calm, the others distinct.

    The first class is the background, as in paint; with `has_background` False it is the one painted with 2, and the
    background is 0.

    A map that names numbers one by one would have napari compile for seconds, while the window stands still.
    """
    of_classes = [CLASS_COLOURS[number % len(CLASS_COLOURS)] for number in range(MOST_CLASSES - 1)]
    background = [BACKGROUND_COLOUR] if has_background else []
    return CyclicLabelColormap(colors=["transparent", *background, *of_classes])


def colours_of_probability(number: int) -> Colormap:
    """Return the colours of the probability of a class, 0 for the first after the background: from black to its own."""
    colour = CLASS_COLOURS[number % len(CLASS_COLOURS)]
    return Colormap(["#000000", colour], name=f"class {colour}")

"""Colours of classes, the same in annotations, labels and probabilities."""

from __future__ import annotations

from napari.utils.colormaps import Colormap, CyclicLabelColormap

BACKGROUND = 1
BACKGROUND_COLOUR = "#6f7f95"
CLASS_COLOURS = ("#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#56b4e9", "#0072b2")
"""Colours of Okabe and Ito, which colour-blind users can distinguish; the most different ones first."""
MOST_CLASSES = 50


def colours_of_classes(has_background: bool = True) -> CyclicLabelColormap:
    """Return the colour of each class: muted for the background, distinct for the others.

    Class 1 is the background, as in annotations. With `has_background` False the background is 0, and class 1 is the
    one that annotations paint with 2.

    A direct colormap, which lists numbers one by one, makes napari compile for seconds while the window waits.
    """
    of_classes = [CLASS_COLOURS[number % len(CLASS_COLOURS)] for number in range(MOST_CLASSES - 1)]
    background = [BACKGROUND_COLOUR] if has_background else []
    return CyclicLabelColormap(colors=["transparent", *background, *of_classes])


def colours_of_probability(number: int) -> Colormap:
    """Return a colormap for the probability of class `number`, from black to its colour; 0 follows the background."""
    colour = CLASS_COLOURS[number % len(CLASS_COLOURS)]
    return Colormap(["#000000", colour], name=f"class {colour}")

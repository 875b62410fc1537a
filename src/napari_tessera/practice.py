"""Run a method on a tiny image, so that whatever its first call loads or compiles is ready before anybody waits for it.

`python -m napari_tessera.practice METHOD DTYPE AXES SETTINGS` does so in all ways that the method can be set (a network
in one), in a process of its own: numba keeps what it compiles in files, from which every later process loads it.
SETTINGS is JSON.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from napari_tessera.errors import TesseraError
from napari_tessera.registry import Method, method_named
from napari_tessera.result import Result
from napari_tessera.spec import Role

SMALL = (4, 16, 16)
WIDE = (2, 68, 4000)
"""Of more pixels than are worked on at a time, so that it is cut; arrays cut across rows are compiled for anew."""
DIAMETER_PX = 24.0
"""Other than what the shipped models know, so that images are rescaled."""
SAME_EITHER_WAY = ("device",)
"""Settings that change nothing about what is compiled."""


def practise(
    method: Method, dtype: Any, axes: str, settings: Mapping[str, Any], shape: tuple[int, ...] = SMALL
) -> Result:
    """Run a method once on a tiny image.

    Parameters
    ----------
    method : Method
    dtype : numpy dtype
        Of the image; labels are int32.
    axes : "YX" or "ZYX"
    settings : mapping
        Parameters that are not to have their defaults.
    shape : tuple of int
        (Z, Y, X) of the image; Y and X are at least 16.
    """
    from napari_tessera import api

    labels = np.zeros(shape[-len(axes) :], np.int32)
    labels[..., 2:7, 2:7], labels[..., 9:14, 9:14] = 1, 2
    inputs: dict[str, Any] = {}
    for entry in method.inputs:
        if entry.roles[0] == Role.POINTS:
            inputs[entry.name] = np.array([[1.0, 4.0, 4.0], [1.0, 11.0, 11.0]])[:, -len(axes) :]
        else:
            inputs[entry.name] = _bright(labels, dtype) if entry.roles[0] == Role.IMAGE else labels
    main = inputs.pop(method.inputs[0].name)
    needed = {entry.name: inputs[entry.name] for entry in method.inputs[1:] if not entry.is_optional}
    return api.segment(method.name, main, axes=axes, **needed, **settings)


def _bright(labels: np.ndarray, dtype: Any) -> np.ndarray:
    """Make the objects brighter than the ground, with noise, as images of few values are treated otherwise."""
    return (50 * labels + np.random.default_rng(0).uniform(0, 20, labels.shape)).astype(dtype)


def ways(method: Method, settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """List the settings as they are, and then with one choice or switch after the other changed.

    Examples
    --------
    >>> list(ways(method_named("threshold"), {}))[:3]
    [{}, {'rule': 'li'}, {'rule': 'yen'}]
    """
    yield dict(settings)
    for parameter in method.parameters:
        if parameter.name in SAME_EITHER_WAY:
            continue
        values = (True, False) if parameter.kind is bool else parameter.choices
        for value in values:
            if value != settings.get(parameter.name, parameter.default):
                yield {**settings, parameter.name: value}


def main(name: str, dtype: str, axes: str, settings: str) -> None:
    """Practise a method, on a tiny image and a wide one; what cannot run on them is left out."""
    method, given = method_named(name), json.loads(settings)
    is_network = any(parameter.model for parameter in method.parameters)
    # A network takes its time, and longest where it has to find out how large objects are.
    in_ways = [given | {"diameter": DIAMETER_PX}] if is_network else ways(method, given)
    runs = [(method, axes, each) for each in in_ways]
    if is_network:
        seconds = (second_network(model) for model in given.values())
        unet = method_named("unet")
        runs += [(unet, "YX", {"model": second, "diameter": DIAMETER_PX}) for second in seconds if second]
    for (chosen, seen_axes, each), shape in itertools.product(runs, (SMALL, WIDE)):
        try:
            practise(chosen, dtype, seen_axes, each, shape)
        except TesseraError:
            continue


def second_network(model: str) -> str | None:
    """Name the U-Net whose opinion a model asks for, which it does only where it sees something; None without one."""
    from napari_tessera import catalogue

    try:
        second = catalogue.second_of(catalogue.find(model).header)
    except TesseraError:
        return None
    return None if second is None else str(second.path)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Run a method on a tiny image, so that whatever its first call loads or compiles is ready before anybody waits for it.

`python -m napari_tessera.practice METHOD DTYPE AXES SETTINGS` does so in all ways that the method can be set, in a
process of its own: numba keeps what it compiles in files, from which every later process loads it. SETTINGS is JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from napari_tessera.errors import TesseraError
from napari_tessera.registry import Method, method_named
from napari_tessera.result import Result
from napari_tessera.spec import Role

SIDE_PX, PLANES = 16, 4
SAME_EITHER_WAY = ("device",)
"""Settings that change nothing about what is compiled."""


def practise(method: Method, dtype: Any, axes: str, settings: Mapping[str, Any]) -> Result:
    """Run a method once on a tiny image.

    Parameters
    ----------
    method : Method
    dtype : numpy dtype
        Of the image; labels are int32.
    axes : "YX" or "ZYX"
    settings : mapping
        Parameters that are not to have their defaults.
    """
    from napari_tessera import api

    labels = np.zeros((PLANES, SIDE_PX, SIDE_PX)[-len(axes) :], np.int32)
    labels[..., 2:7, 2:7], labels[..., 9:14, 9:14] = 1, 2
    inputs: dict[str, Any] = {}
    for entry in method.inputs:
        if entry.roles[0] == Role.POINTS:
            inputs[entry.name] = np.array([[1.0, 4.0, 4.0], [1.0, 11.0, 11.0]])[:, -len(axes) :]
        else:
            inputs[entry.name] = (labels * 50).astype(dtype) if entry.roles[0] == Role.IMAGE else labels
    main = inputs.pop(method.inputs[0].name)
    needed = {entry.name: inputs[entry.name] for entry in method.inputs[1:] if not entry.is_optional}
    return api.segment(method.name, main, axes=axes, **needed, **settings)


def ways(method: Method, settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """List the settings as they are, and then with one choice or switch after the other changed.

    Examples
    --------
    >>> list(ways(method_named("threshold"), {}))[:3]
    [{}, {'rule': 'li'}, {'rule': 'triangle'}]
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
    """Practise a method in all ways; what cannot run on a tiny image is left out."""
    method = method_named(name)
    for each in ways(method, json.loads(settings)):
        try:
            practise(method, dtype, axes, each)
        except TesseraError:
            continue


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The registry of methods: the `METHOD` of each module in `methods/`."""

from __future__ import annotations

import difflib
from importlib import import_module

from napari_tessera.core.errors import ParameterError, short
from napari_tessera.core.method import Method
from napari_tessera.methods import NAMES

METHODS: tuple[Method, ...] = tuple(import_module(f"napari_tessera.methods.{name}").METHOD for name in NAMES)


def method_named(name: str) -> Method:
    """Find a method by its name.

    Raises
    ------
    ParameterError
        If there is none; the message names the nearest.
    """
    by_name = {method.name: method for method in METHODS}
    if isinstance(name, str) and (asked := name.replace("-", "_")) in by_name:
        return by_name[asked]
    near = difflib.get_close_matches(short(name).strip("'"), by_name, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(by_name)}."
    raise ParameterError(f"There is no method named {short(name)}. {hint}", "method")

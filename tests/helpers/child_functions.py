"""Functions for a child process: one that is right, and some that go wrong."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import numpy as np

from napari_tessera.core.errors import ParameterError


def doubled(array: np.ndarray, *, plus: int) -> np.ndarray:
    return array * 2 + plus


def hold_lock(array: np.ndarray, *, told: str) -> np.ndarray:
    """Write the number of the process into the file `told`, then hold Python's lock for a minute."""
    Path(told).write_text(str(os.getpid()))
    ctypes.PyDLL(None).sleep(60)
    return array


def crash(array: np.ndarray) -> np.ndarray:
    ctypes.string_at(0)
    return array


def leave(array: np.ndarray) -> np.ndarray:
    os._exit(7)


def refuse(array: np.ndarray) -> np.ndarray:
    raise ParameterError("`sigma` is too large.", "sigma")


def fail(array: np.ndarray) -> np.ndarray:
    raise KeyError("no such thing")

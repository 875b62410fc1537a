"""Memory that was used for one block goes back to the system before the next."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def give_back() -> None:
    """Return freed memory to the system, where the C library keeps it otherwise (glibc, for each thread).

    Without this, what many blocks leave behind adds up. Elsewhere than on Linux, nothing happens.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None

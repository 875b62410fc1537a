"""Room for libraries: where they find too little memory they end the process, or wait for ever.

OpenBLAS asks again without end for memory that it does not get, LLVM and OpenMP end the program, and none of them can
be stopped from Python. So it is asked beforehand whether the system would give a process (`ulimit -v`, some clusters)
what a library takes when it is loaded and first used.
"""

from __future__ import annotations

import mmap
import os
import sys

from napari_tessera.core.errors import RunError

MEGABYTE = 2**20
BESIDE = 60
"""Megabytes that are needed beside what libraries take."""
TAKEN = {"scipy.linalg": (60, 20), "llvmlite": (300, 50), "torch": (930, 80)}
"""Megabytes of address space by library, and for each thread; each brings along those before it."""


def check_room(library: str, what: str) -> None:
    """Refuse to load a library for which there is too little memory; one that is loaded has what it needs.

    Parameters
    ----------
    library : str
        One of `TAKEN`.
    what : str
        What cannot be loaded or done without it, as the sentence begins.

    Raises
    ------
    RunError

    Examples
    --------
    >>> check_room("scipy.linalg", "SciPy, which counts objects,")
    """
    if library in sys.modules:
        return
    fixed, each = TAKEN[library]
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1  # other systems set no such limit
    needed = BESIDE + fixed + each * cores
    if not is_given(needed * MEGABYTE):
        raise RunError(
            f"{what} cannot be loaded: memory does not suffice. It takes about {needed:,} MB, and the system lets this "
            "process have less (on Linux `ulimit -v` says how much in all). Allow it more, or use another "
            "computer."
        )


def is_given(n_bytes: int) -> bool:
    """Return whether the system lets this process have so much memory; it is given back at once, untouched.

    Examples
    --------
    >>> is_given(2**20), sys.platform != "win32" and is_given(2**60)
    (True, False)
    """
    if sys.platform == "win32":  # which has no such limit, and would have to find the memory
        return True
    try:
        with mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ):
            return True
    except (OSError, OverflowError, MemoryError):
        return False

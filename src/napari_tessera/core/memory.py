"""Free memory, a check of it before a library is loaded that would crash or hang without it, and the error of a lack.

OpenBLAS asks for memory again and again; LLVM and OpenMP end the process. Python can prevent neither. So this module
first checks whether the system's limit (`ulimit -v`, some clusters) leaves enough memory to load and use the library.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path

from napari_tessera.core.errors import RunError, TesseraError, first_line, lacks_memory

MEGABYTE = 2**20
BESIDE = 60
"""Megabytes needed besides the libraries."""
TAKEN = {"scipy.linalg": (60, 20), "llvmlite": (300, 50), "torch": (930, 80)}
"""Megabytes of address space by library, and for each thread; each library loads those before it."""


def check_room(library: str, what: str) -> None:
    """Refuse to load a library if there is too little memory for it; a loaded library always passes.

    `what` is the start of the error message: what needs the library, one of `TAKEN`.

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
            f"{what} cannot be loaded: memory is insufficient. It takes about {needed:,} MB, and the system gives this "
            "process less (on Linux `ulimit -v` shows the limit). Raise the limit, or use another "
            "computer."
        )


def is_given(n_bytes: int) -> bool:
    """Return whether the system would give this process so much memory; it is released at once.

    Examples
    --------
    >>> is_given(2**20), sys.platform != "win32" and is_given(2**60)
    (True, False)
    """
    if sys.platform == "win32":  # it has no such limit, and would allocate the memory
        return True
    try:
        with mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ):
            return True
    except (OSError, OverflowError, MemoryError):
        return False


@contextmanager
def explaining_lack_of_memory(method: str, shape: Sequence[int]) -> Iterator[None]:
    """Turn a lack of memory on an image of a shape into an error that says what to do."""
    try:
        yield
    except Exception as error:
        if isinstance(error, TesseraError) or not lacks_memory(error):
            raise
        raise RunError(
            f"{method} ran out of memory on an image of shape {tuple(shape)} ({first_line(error)}). Segment a region "
            "or one plane, or close other programs."
        ) from error


def free_bytes() -> int:
    """Return how much memory this process can still take.

    It is what the computer has free, or less where the system limits the process (`ulimit -v`) or its control group
    (containers, clusters).
    """
    import psutil

    return int(min(psutil.virtual_memory().available, _address_space_left(), group_bytes_left()))


def _address_space_left() -> float:
    import psutil

    try:
        import resource
    except ImportError:  # on Windows
        return inf
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    return inf if allowed == resource.RLIM_INFINITY else max(0, allowed - psutil.Process().memory_info().vms)


GROUP_FILES = {
    "": ("", "memory.max", "memory.current", "inactive_file"),
    "memory": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""By controller, in version 2 and 1 of Linux's control groups: folder, limit, use, and what can be given up."""


def group_bytes_left(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float:
    """Return how much memory the control groups of this process still allow; infinite if they have no limit."""
    left = inf
    with suppress(OSError, ValueError):
        for line in groups.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            for name in GROUP_FILES.keys() & set(controllers.split(",")):
                folder, *files = GROUP_FILES[name]
                top = root / folder
                group = top / path.lstrip("/")
                for each in (group, *group.parents):
                    if each.is_relative_to(top):
                        left = min(left, _left_in(each, *files))
    return left


def _left_in(group: Path, limit: str, use: str, cache: str) -> float:
    with suppress(OSError, ValueError):  # no limit is "max"; the group at the top has no such file
        allowed, used = int((group / limit).read_text()), int((group / use).read_text())
        stated = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return max(0, allowed - used + int(stated.get(cache, 0)))
    return inf

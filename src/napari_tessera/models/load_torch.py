"""Load torch in a thread, so that neither a window nor Cancel waits for it.

Python holds its interpreter lock while it loads a compiled module, and torch's libraries take a fifth of a second, from
a slow disk many. Asking the system for them through `ctypes` beforehand does the same without the lock. On Windows
torch does so itself.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import sys
from pathlib import Path

from napari_tessera.core.daemon_threads import start_thread
from napari_tessera.core.errors import RunError, first_line, lacks_memory
from napari_tessera.core.jobs import BEAT_SECONDS, Job, Progress
from napari_tessera.core.memory import check_room

LIBRARIES = ("torch_global_deps", "torch_cpu", "torch_cuda", "torch_python")
"""In the order in which torch wants them; each brings along what it needs itself."""
NETWORKS = "PyTorch, which runs the networks,"
_failures: list[Exception] = []
"""Why torch was not imported: once begun, it cannot be imported a second time in one process."""


def is_loaded() -> bool:
    """Return whether torch has been imported to its end."""
    spec = getattr(sys.modules.get("torch"), "__spec__", None)
    return spec is not None and not getattr(spec, "_initializing", False)


def load_torch() -> Job[None]:
    """Import torch in a thread of its own while the job goes on.

    Raises
    ------
    RunError
        If torch is damaged or does not suit this machine, or if memory does not suffice.
    """
    if is_loaded():
        return
    check_room("torch", NETWORKS)
    thread = start_thread(_load, "tessera torch")
    while thread.is_alive():
        yield Progress(0, 1, "Loading PyTorch")
        thread.join(BEAT_SECONDS)
    if _failures:
        raise _in_plain_words(_failures[0]) from _failures[0]


def _load() -> None:
    if _failures:
        return
    try:
        preload_libraries()
        importlib.import_module("torch")
    except Exception as error:
        _failures.append(error)


def _in_plain_words(error: Exception) -> RunError:
    what = f"{NETWORKS} cannot be loaded"
    if lacks_memory(error):
        return RunError(
            f"{what}: memory does not suffice ({first_line(error)}). Close other programs, and start this one anew."
        )
    if isinstance(error, ImportError | OSError):
        return RunError(f"{what} ({first_line(error)}). Install it anew: pip install torch.")
    return RunError(
        f"{what} ({type(error).__name__}: {first_line(error)}). Start the program anew; if it fails again, "
        "please report it."
    )


def preload_libraries() -> None:
    """Load torch's shared libraries without Python's lock; the import itself raises what goes wrong here."""
    spec = importlib.util.find_spec("torch")
    if os.name == "nt" or spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent / "lib"
    ending = ".dylib" if sys.platform == "darwin" else ".so"
    try:
        load = ctypes.CDLL(None).dlopen
    except (OSError, AttributeError):
        return
    load.restype, load.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    for name in LIBRARIES:
        path = folder / f"lib{name}{ending}"
        if path.exists():
            # torch makes the libraries under all its others visible to every library, as this flag does.
            is_visible = ctypes.RTLD_GLOBAL if name == LIBRARIES[0] else ctypes.RTLD_LOCAL
            load(os.fsencode(path), is_visible | os.RTLD_NOW)

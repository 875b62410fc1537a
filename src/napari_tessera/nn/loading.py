"""Load torch in a thread, so that nobody waits for it: neither a window, nor Cancel.

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

from napari_tessera.ending import start_thread
from napari_tessera.errors import RunError
from napari_tessera.jobs import Job, Progress

SECONDS_BETWEEN_LOOKS = 0.05
LIBRARIES = ("torch_global_deps", "torch_cpu", "torch_cuda", "torch_python")
"""In the order in which torch wants them; each brings along what it needs itself."""


def is_loaded() -> bool:
    """Say whether torch has been imported to its end."""
    spec = getattr(sys.modules.get("torch"), "__spec__", None)
    return spec is not None and not getattr(spec, "_initializing", False)


def load_torch() -> Job[None]:
    """Import torch in a thread of its own while the job goes on.

    Raises
    ------
    RunError
        If torch is damaged or does not suit this machine.
    """
    if is_loaded():
        return
    failures: list[Exception] = []
    thread = start_thread(_load, "tessera torch", failures)
    while thread.is_alive():
        yield Progress(0, 1, "Loading PyTorch")
        thread.join(SECONDS_BETWEEN_LOOKS)
    if failures:
        raise RunError(
            f"PyTorch, which runs the networks, cannot be loaded ({failures[0]}). Install it anew: pip install torch."
        ) from failures[0]


def _load(failures: list[Exception]) -> None:
    try:
        preload_libraries()
        importlib.import_module("torch")
    except Exception as error:
        failures.append(error)


def preload_libraries() -> None:
    """Load torch's shared libraries without Python's lock; whatever goes wrong here, the import itself will say."""
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

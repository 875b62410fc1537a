"""Load what a run needs before the user presses Run, so that the first run is as smooth as the others.

Compiled kernels, networks and napari's own colouring of labels are loaded when they are first called, and loading holds
up the window for a moment. That moment is better spent while the user still looks at the form.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from napari.layers import Labels

from napari_tessera.gui.worker import quick_switching
from napari_tessera.registry import Method
from napari_tessera.spec import Role

SIZE_PX = 16


def warm_up(method: Method, dtype: Any, parameters: Mapping[str, Any]) -> threading.Thread:
    """Run a method once on a tiny image of `dtype`, in a thread of its own."""
    arguments = (method, dtype, dict(parameters))
    thread = threading.Thread(target=_run_once, args=arguments, name="tessera warm-up", daemon=True)
    thread.start()
    return thread


def _run_once(method: Method, dtype: Any, parameters: dict[str, Any]) -> None:
    labels = np.zeros((SIZE_PX, SIZE_PX), np.int32)
    labels[2:7, 2:7], labels[9:14, 9:14] = 1, 2
    main = (labels * 50).astype(dtype) if method.takes_image else labels
    needed = [entry for entry in method.inputs[1:] if not entry.is_optional]
    points = np.array([[4.0, 4.0], [11.0, 11.0]])
    others = {entry.name: points if Role.POINTS in entry.roles else labels for entry in needed}
    try:
        with quick_switching(), sparing_old_objects():
            from napari_tessera import api

            result = api.segment(method.name, main, **others, **parameters)
            Labels(result.labels)
    except Exception:
        # Nobody asked for this run. If something is wrong, the run that the user starts will say so.
        return


@contextmanager
def sparing_old_objects() -> Iterator[None]:
    """Let Python look for garbage among new objects only.

    Loading a library makes so many objects that Python goes through all there are several times, and no other thread
    runs in the meantime. With those of napari among them, that takes a fifth of a second each time.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()

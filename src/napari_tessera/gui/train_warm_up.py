"""Load what a training needs before the user presses Train, once in a process."""

from __future__ import annotations

import threading

import numpy as np
from napari.layers import Labels

from napari_tessera.ending import is_ending
from napari_tessera.gui.warm_up import WarmUp, postponing_garbage_collection
from napari_tessera.gui.worker import quick_switching
from napari_tessera.looking_on import rehearse

_threads: list[threading.Thread] = []
"""The one that prepares, or has prepared, this process."""


class TrainWarmUp(WarmUp):
    """Takes a step on a tiny image, in a thread of its own."""

    def begin(self) -> None:
        """Start it, unless this process has been prepared."""
        if not _threads:
            thread = self._started(self._rehearse)
            _threads.extend([thread] if thread is not None else [])
        self._thread = next(iter(_threads), None)

    def _rehearse(self) -> None:
        try:
            with quick_switching(), postponing_garbage_collection():
                for _ in rehearse():
                    if is_ending.is_set():
                        return
                Labels(np.zeros((1, 1), np.uint8))  # napari compiles how it colours labels
        except Exception:
            # Nobody asked for this. If something is wrong, the training that the user starts will say so.
            return

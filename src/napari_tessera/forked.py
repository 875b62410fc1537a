"""Processes made by `fork`, the default of multiprocessing on Linux before Python 3.14: they get threads of their own.

A child has none of its parent's threads, but all of its memory. dask would hand its work to a pool of threads that are
not there, and wait for ever.
"""

from __future__ import annotations

import os
import sys
from threading import Lock


def forget_threads() -> None:
    """Let dask start its pools of threads anew, if it has been imported."""
    threaded = sys.modules.get("dask.threaded")
    if threaded is not None:
        threaded.pools.clear()
        vars(threaded).update(default_pool=None, pools_lock=Lock())


def watch_forks() -> None:
    """Forget the parent's threads in each child made by `fork`, where there is such a thing."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forget_threads)

"""Learn from patches as large as memory allows: after an out-of-memory error, smaller ones do."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from napari_tessera.errors import lacks_memory
from napari_tessera.jobs import Job, Progress
from napari_tessera.train.definite import step_px
from napari_tessera.train.plan import Plan

SMALLEST_PATCH_PX = 32
Done = TypeVar("Done")


def within_memory(attempt: Callable[[Plan], Job[Done]], plan: Plan) -> Job[Done]:
    """Try a plan; whenever memory does not suffice, try it again with patches of half the side.

    Parameters
    ----------
    attempt : function (Plan) -> Job
        Begins from where it got to, if it has saved that.
    plan : Plan

    Raises
    ------
    OutOfMemory
        If memory does not suffice for the smallest patches.
    """
    while True:
        try:
            return (yield from attempt(plan))
        except Exception as error:
            smaller = with_smaller_patches(plan)
            if smaller.patch_px == plan.patch_px or not lacks_memory(error):
                raise
        gc.collect()  # the error's traceback may hold what the step had taken
        said = on_smaller_patches(smaller, plan)
        plan = smaller
        yield Progress(0, plan.steps, said, {"warning": said})


def with_smaller_patches(plan: Plan) -> Plan:
    """Halve the side of the patches, which stays a multiple of the network's step; the smallest stay as they are.

    Examples
    --------
    >>> with_smaller_patches(Plan(patch_px=160)).patch_px, with_smaller_patches(Plan(patch_px=32)).patch_px
    (80, 32)
    """
    step = step_px(plan.network, plan.widths)
    smallest = max(SMALLEST_PATCH_PX, step * (2 if plan.batch == 1 else 1))
    half = plan.patch_px // 2 // step * step
    side = min(plan.patch_px, max(smallest, half))
    return replace(plan, patch_px=side, depth_px=side if plan.ndim == 3 else 0)


def on_smaller_patches(plan: Plan, wanted: Plan) -> str:
    """Say that patches are smaller than they were to be."""
    return (
        f"Memory did not suffice for patches of {wanted.patch_px} px, so they are {plan.patch_px} px wide, and the "
        "network learns less of what lies around. Close other programs, or choose a smaller `batch`, for larger ones."
    )

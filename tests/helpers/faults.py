"""Faults that can come up anywhere, one of each kind."""

import errno
import os

import numpy as np
import pytest


def too_little_memory(*_, **__):
    np.empty(2**55)


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")


def fault_of_torch(*_, **__):
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def unusable_value(*_, **__):
    raise ValueError("operands could not be broadcast together")


def plain_bug(*_, **__):
    return 1 / 0


SAID = {
    too_little_memory: "There is too little memory",
    full_disk: "No space left on device",
    fault_of_torch: "This should not have happened (RuntimeError: CUDA error",
    unusable_value: "This should not have happened (ValueError: operands",
    plain_bug: "This should not have happened (ZeroDivisionError",
}
"""What the widget says of each."""

each_fault = pytest.mark.parametrize("fault", SAID, ids=lambda fault: fault.__name__)
memory_or_bug = pytest.mark.parametrize("fault", [too_little_memory, plain_bug], ids=lambda fault: fault.__name__)


def job_of(fault):
    """A job that comes to one step, and then to the fault."""

    def job(*_, **__):
        from napari_tessera.core.jobs import Progress

        yield Progress(0, 2, "Working")
        fault()

    return job


def once(fault, otherwise):
    """A function that has a fault when it is called first, and from then on is another one."""
    calls = []

    def sometimes(*given, **named):
        calls.append(given)
        if len(calls) == 1:
            fault()
        return otherwise(*given, **named)

    return sometimes

"""Where a network can run: graphics cards and the processor, in words for users, and how much memory each has free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psutil
import torch

from napari_tessera.core import memory
from napari_tessera.core.errors import ParameterError
from napari_tessera.core.jobs import worker_count

KINDS = {"cuda": "an NVIDIA graphics card (CUDA)", "mps": "an Apple graphics processor (MPS)", "cpu": "the processor"}
"""Kinds of device, the fastest first."""


@dataclass(frozen=True)
class Device:
    """A device that networks can run on."""

    kind: str  # "cuda", "mps" or "cpu", as the parameter `device` takes it
    title: str  # such as "NVIDIA RTX 3060, 12 GB" or "the processor (8 cores)"
    n_bytes: int  # all its memory


def devices() -> tuple[Device, ...]:
    """List the devices of this computer, the fastest first; the processor is always among them."""
    return tuple(describe(kind) for kind in KINDS if is_present(kind))


def is_present(kind: str) -> bool:
    """Return whether this computer has a device of a kind, and the installed torch can use it."""
    if kind == "cuda":
        return torch.cuda.is_available()
    return kind == "cpu" or torch.backends.mps.is_available()


def choose(device: str = "auto") -> str:
    """Return the kind of device to run on: one of `KINDS`, or of "auto" the fastest there is.

    Raises
    ------
    ParameterError
        If this computer has no such device.
    """
    if device == "auto":
        return next(kind for kind in KINDS if is_present(kind))
    if device not in KINDS:
        names = ", ".join(map(repr, KINDS))
        raise ParameterError(f"`device` is {device!r}, but it must be 'auto' or one of {names}.", "device")
    if not is_present(device):
        here = ", ".join(f"{each.kind!r} ({each.title})" for each in devices())
        raise ParameterError(
            f"`device` is {device!r}, but torch finds no such device: {KINDS[device]}. Choose 'auto', or what there "
            f"is: {here}. If the computer has one, install the build of torch for it (pytorch.org/get-started).",
            "device",
        )
    return device


def describe(kind: str) -> Device:
    """Describe a device that is present."""
    if kind == "cuda":
        card = torch.cuda.get_device_properties(0)
        return Device(kind, f"{card.name}, {_in_gigabytes(card.total_memory)}", card.total_memory)
    cores = worker_count()
    n_bytes = psutil.virtual_memory().total
    if kind == "mps":
        return Device(kind, f"the Apple graphics processor, sharing {_in_gigabytes(n_bytes)}", n_bytes)
    return Device(kind, f"the processor ({cores} core{'s' if cores > 1 else ''})", n_bytes)


def free_bytes(kind: str) -> int:
    """Return how much memory of a device is free now, what torch holds in reserve included.

    Apple's graphics processors share the computer's memory.
    """
    if kind == "cuda":
        reserve = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return torch.cuda.mem_get_info()[0] + reserve
    return memory.free_bytes()


def low_precision(kind: str) -> torch.dtype:
    """Return the number type that a device convolves fastest in, of those whose labels stay the same.

    Newer graphics cards of NVIDIA (from Ampere on), and processors with instructions for it (AVX512-BF16, AMX),
    convolve bfloat16 about twice as fast as float32. Everything else runs in float32, as float16 may overflow.
    """
    has: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # torch before 2.10 cannot tell
    if kind == "cuda":
        is_faster = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        is_faster = kind == "cpu" and bool(has.get("avx512_bf16") or has.get("amx_bf16"))
    return torch.bfloat16 if is_faster else torch.float32


def _in_gigabytes(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.0f} GB"

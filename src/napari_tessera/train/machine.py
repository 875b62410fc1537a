"""What training uses of the machine."""

from __future__ import annotations

import torch


def use_threads(count: int | None) -> None:
    """Compute on this many processor cores; None leaves it to torch, which takes all."""
    if count is not None:
        torch.set_num_threads(count)


def threads() -> int:
    """Return how many processor cores torch uses."""
    return torch.get_num_threads()

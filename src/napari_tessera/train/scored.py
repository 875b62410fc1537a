"""Which weights the scores of a training are of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def scored_in_words(record: Mapping[str, Any]) -> str:
    """Say of which step the scores are, if not of the weights that were kept; otherwise nothing.

    Parameters
    ----------
    record : mapping
        Of a training, as the header of its model has it.
    """
    scored = record.get("scored_step")
    if scored is None or scored == record["best_step"]:
        return ""
    return f"The scores are those of step {scored:.0f}, before the paint held back was learnt, too."

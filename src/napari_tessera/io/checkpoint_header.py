"""The header of a checkpoint as a model of pydantic: what a training must find in it to go on."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from napari_tessera.schema import Count, Fields, Number, Text

Entry = dict[Text, Number | None]
"""Values by name at a step; null for what was NaN or infinite."""


def _scored(entry: Entry) -> Entry:
    if entry.get("step") is None or "score" not in entry:
        raise ValueError("should have a step and a score")
    return entry


class Identity(Fields):
    """What of a training's settings is read before they are compared."""

    steps: Annotated[Count, Field(ge=1)] | None = None
    validations: Annotated[Count, Field(ge=1)] | None = None


class CheckpointHeader(Fields):
    """Where a training stands, which training it is, and what its model is to be."""

    step: Count
    best_score: Number | None
    best_at: Count | None = None
    better_at: Count | None = None
    history: list[Annotated[Entry, AfterValidator(_scored)]]
    losses: list[Entry]
    recent: list[Entry]
    seconds: Annotated[Number, Field(ge=0)]
    identity: Identity
    model: dict[Text, Any] = Field(default_factory=dict)

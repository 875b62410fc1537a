"""The record of a run as a model of pydantic: the fields that a replay reads, and what each may be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, model_validator

from napari_tessera.errors import InputError, short
from napari_tessera.provenance import FORMAT, LARGEST_EMBEDDED_BYTES
from napari_tessera.schema import LARGEST_INT, Count, Fields, Number, Scalar, Text, check_fields
from napari_tessera.spatial import LONGEST_UNIT

LONGEST_TEXT = 4 * (LARGEST_EMBEDDED_BYTES // 3 + 1)
"""Characters of an embedded array: base64 takes four for three bytes."""
MOST_STEPS = 1000
MOST_AXES = 32


def _countable(shape: list[int]) -> list[int]:
    if math.prod(shape) > LARGEST_INT:
        raise ValueError("should have fewer than 2⁶³ values in all")
    return shape


def _letters(axes: str) -> str:
    if not axes.isalpha():
        raise ValueError("should be letters, one for each axis")
    return axes


def _listed(recipe: Any) -> Any:
    return [recipe] if isinstance(recipe, dict) else recipe


Shape = Annotated[list[Count], Field(max_length=MOST_AXES), AfterValidator(_countable)]
Dtype = Literal["b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]
Size = Annotated[Number, Field(gt=0)]
Side = Annotated[StrictInt, Field(ge=1, le=LARGEST_INT)]
Outline = list[Annotated[list[Number], Field(min_length=2, max_length=2)]]


class ModelRecord(Fields):
    """The file of a model, and of the one that gives a second opinion."""

    name: Text
    sha256: Text
    second: Any = None


class InputRecord(Fields):
    """An array: what it was, how it was made, and its values where they pack small."""

    name: Text | None = None
    shape: Shape
    dtype: Dtype
    sha256: Text | None = None
    zlib: Annotated[Text, Field(max_length=LONGEST_TEXT)] | None = None
    made_by: Annotated[list[Record], BeforeValidator(_listed), Field(min_length=1, max_length=MOST_STEPS)] | None = None


class RegionRecord(Fields):
    """Planes and outlines that the run was held to."""

    planes: dict[Text, Count] = Field(default_factory=dict)
    polygons: list[Outline] = Field(default_factory=list)


class BlocksRecord(Fields):
    """Pixels of a block along z, y, x."""

    size: Annotated[list[Side], Field(max_length=MOST_AXES)] | None = None


class SpatialRecord(Fields):
    """Where an image that was written lies: an entry for each of its axes."""

    axes: Annotated[Text, Field(max_length=MOST_AXES), AfterValidator(_letters)]
    scale: list[Number]
    translate: list[Number]
    units: list[Text]

    @model_validator(mode="after")
    def _fits(self) -> SpatialRecord:
        if {len(self.scale), len(self.translate), len(self.units), len(set(self.axes))} != {len(self.axes)}:
            raise ValueError("should have a letter, a scale, a translation and a unit for each axis")
        return self


class OutputRecord(Fields):
    """An image that was written."""

    file: Text
    spatial: SpatialRecord


class Sidecar(Fields):
    """What the record beside an image adds to the image."""

    outputs: Annotated[list[OutputRecord], Field(max_length=MOST_STEPS)]


class Record(Fields):
    """One step that can be replayed."""

    tessera: Annotated[StrictInt, Field(ge=1, le=FORMAT)]
    method: Text
    parameters: dict[Text, Scalar]
    axes: Annotated[Text, Field(max_length=MOST_AXES), AfterValidator(_letters)]
    spacing: Annotated[list[Size], Field(max_length=MOST_AXES)] | None = None
    unit: Annotated[Text, Field(max_length=LONGEST_UNIT)] = "pixel"
    inputs: dict[Text, InputRecord | None] | None = None
    region: RegionRecord | None = None
    blocks: BlocksRecord | None = None
    model: ModelRecord | None = None
    models: dict[Text, ModelRecord | None] | None = None
    taken: Text | None = None


InputRecord.model_rebuild()


def check_recipe(recipe: Any) -> list[dict[str, Any]]:
    """Return the steps of a recipe, a record or a list of them, if this version can replay all.

    Raises
    ------
    InputError
        Naming what is missing or wrong, or if a record is newer than this version.
    """
    steps = list(recipe) if isinstance(recipe, list | tuple) else [recipe]
    if not 0 < len(steps) <= MOST_STEPS:
        raise InputError(
            f"The recipe is a list of {len(steps)} steps, but it needs at least one step, at most {MOST_STEPS}."
        )
    for number, step in enumerate(steps, start=1):
        _check_format(step)
        try:
            check_fields(Record, dict(step))
        except ValueError as error:
            place = f"step {number}: " if len(steps) > 1 else ""
            raise InputError(f"The recipe is damaged: {place}{error}. Take the original record.") from error
    return [dict(step) for step in steps]


def _check_format(step: Any) -> None:
    """Refuse what is no record at all, or one of a newer version, which may have other fields."""
    if not isinstance(step, Mapping):
        raise InputError(f"A recipe is a dictionary (or a list of them), but this is a {type(step).__name__}.")
    missing = [key for key in ("tessera", "method", "parameters", "axes") if key not in step]
    if missing:
        raise InputError(f"This is not a Tessera recipe: it has no {', '.join(map(repr, missing))}.")
    if type(step["tessera"]) is not int:
        raise InputError(f"The recipe is damaged: its format is {short(step['tessera'])}, but it should be a number.")
    if step["tessera"] > FORMAT:
        raise InputError(
            f"The recipe has format {short(step['tessera'])}; this version reads up to {FORMAT}. Update napari-tessera."
        )

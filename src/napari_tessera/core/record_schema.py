"""Pydantic models of records, and a check of JSON against a model that names the first error in one sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from napari_tessera.core.errors import InputError, short
from napari_tessera.core.result import FORMAT, LARGEST_EMBEDDED_BYTES
from napari_tessera.core.spatial import LONGEST_UNIT

LARGEST_INT = 2**63 - 1
MOST_PARTS = 12
IN_A_CLASS = re.compile("be a valid dictionary or instance of .*")

Number = Annotated[StrictFloat, Field(allow_inf_nan=False)]
"""A JSON number, integer or not."""
Count = Annotated[StrictInt, Field(ge=0, le=LARGEST_INT)]


def _unicode(value: Any) -> Any:
    if isinstance(value, str) and not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
        raise ValueError("should not hold half of a character (a lone surrogate)")
    return value


def _scalar(value: Any) -> Any:
    if value is not None and type(value) not in (bool, int, float, str):
        raise ValueError("should be a number, a text, true, false or null")
    return _unicode(value)


Text = Annotated[StrictStr, AfterValidator(_unicode)]
Scalar = Annotated[Any, AfterValidator(_scalar)]


class Fields(BaseModel):
    """A JSON object with known fields; other fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def check_fields(fields: type[Fields], value: Any) -> None:
    """Check a value against a model.

    Raises
    ------
    ValueError
        With the first wrong place, its value, and what is needed.

    Examples
    --------
    >>> class Plane(Fields):
    ...     shape: list[Count]
    >>> check_fields(Plane, {"shape": [4, -3]})
    Traceback (most recent call last):
    ValueError: shape → 1 is -3, but it should be greater than or equal to 0
    """
    try:
        fields.model_validate(value)
    except ValidationError as error:
        raise ValueError(_in_words(error.errors(include_url=False)[0])) from error


def _in_words(fault: Any) -> str:
    """Describe a pydantic error in one sentence: its place, the value, what is needed."""
    place = _place(fault["loc"])
    if fault["type"] == "missing":
        return f"{place} is missing"
    if fault["type"] == "extra_forbidden":
        return f"{place} is unknown"
    if fault["type"] == "recursion_loop":
        return f"{place} is nested too deeply, or contains itself"
    text = str(fault["ctx"]["error"]) if fault["type"] == "value_error" else fault["msg"]
    needed = text.partition("should ")[2].replace(" after validation", "")
    return f"{place} is {short(fault['input'])}, but it should {IN_A_CLASS.sub('be a dictionary', needed)}"


def _place(path: Sequence[str | int]) -> str:
    """Format the path to a place; the middle of a long one is left out."""
    parts = [str(part) if str(part).replace("_", "").isalnum() else short(part) for part in path]
    shown = parts if len(parts) <= MOST_PARTS else [*parts[: MOST_PARTS // 2], "…", *parts[-MOST_PARTS // 2 :]]
    return " → ".join(shown) or "it"


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
    """The file of a model, and of the second network that it uses."""

    name: Text
    sha256: Text
    second: Any = None


class InputRecord(Fields):
    """An array: its description, how it was made, and its values if they compress well."""

    name: Text | None = None
    shape: Shape
    dtype: Dtype
    sha256: Text | None = None
    zlib: Annotated[Text, Field(max_length=LONGEST_TEXT)] | None = None
    record: (
        Annotated[
            list[Record],
            BeforeValidator(_listed),
            Field(min_length=1, max_length=MOST_STEPS),
        ]
        | None
    ) = None


class RegionRecord(Fields):
    """Planes and outlines of the region."""

    planes: dict[Text, Count] = Field(default_factory=dict)
    polygons: list[Outline] = Field(default_factory=list)


class BlocksRecord(Fields):
    """Pixels of a block along z, y, x."""

    size: Annotated[list[Side], Field(max_length=MOST_AXES)] | None = None


class SpatialRecord(Fields):
    """Placement of a written image, with an entry for each of its axes."""

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
    """A written image."""

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
    """Return the steps of a recipe (a record or a list of records); refuse steps that this version cannot replay."""
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
    """Refuse what is not a record, and records of newer versions, which may have other fields."""
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

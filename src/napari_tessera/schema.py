"""Check data from an unknown source against a model of pydantic; one sentence names the place of the first fault."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictFloat, StrictInt, StrictStr, ValidationError

from napari_tessera.errors import short

LARGEST_INT = 2**63 - 1
MOST_PARTS = 12
IN_A_CLASS = re.compile("be a valid dictionary or instance of .*")

Number = Annotated[StrictFloat, Field(allow_inf_nan=False)]
"""A number of JSON, whole or not."""
Count = Annotated[StrictInt, Field(ge=0, le=LARGEST_INT)]


def _unicode(value: Any) -> Any:
    if isinstance(value, str) and not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
        raise ValueError("should hold no half of a character")
    return value


def _scalar(value: Any) -> Any:
    if value is not None and type(value) not in (bool, int, float, str):
        raise ValueError("should be a number, a text, true, false or null")
    return _unicode(value)


Text = Annotated[StrictStr, AfterValidator(_unicode)]
Scalar = Annotated[Any, AfterValidator(_scalar)]


class Fields(BaseModel):
    """A JSON object of known fields; whatever else it holds is left unread."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def check_fields(fields: type[Fields], value: Any) -> None:
    """Check that a value has these fields.

    Raises
    ------
    ValueError
        Naming the first place where it has not, what is there and what should be.

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
    """Write a fault as pydantic describes it: its place, what is there, what should be."""
    place = _place(fault["loc"])
    if fault["type"] == "missing":
        return f"{place} is missing"
    if fault["type"] == "recursion_loop":
        return f"{place} is nested too deeply, or holds itself"
    said = str(fault["ctx"]["error"]) if fault["type"] == "value_error" else fault["msg"]
    needed = said.partition("should ")[2].replace(" after validation", "")
    return f"{place} is {short(fault['input'])}, but it should {IN_A_CLASS.sub('be a dictionary', needed)}"


def _place(path: Sequence[str | int]) -> str:
    """Write the path to a place; the middle of a long one is left out."""
    parts = [str(part) if str(part).replace("_", "").isalnum() else short(part) for part in path]
    shown = parts if len(parts) <= MOST_PARTS else [*parts[: MOST_PARTS // 2], "…", *parts[-MOST_PARTS // 2 :]]
    return " → ".join(shown) or "it"

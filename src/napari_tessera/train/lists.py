"""Numbers and words in settings, which are texts with commas between them."""

from __future__ import annotations

from napari_tessera.errors import ParameterError, short


def numbers(text: str, parameter: str) -> tuple[float, ...]:
    """Read numbers above 0 separated by commas.

    Raises
    ------
    ParameterError

    Examples
    --------
    >>> numbers("1, 2.5", "class_weights")
    (1.0, 2.5)
    """
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(0 < value < float("inf") for value in found):
        raise ParameterError(
            f"Training: `{parameter}` is {short(text)}, but it must be numbers above 0 with commas between, such as "
            "1,2,4.",
            parameter,
        )
    return found


def words(text: str | None) -> tuple[str, ...]:
    """Read words separated by commas."""
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())

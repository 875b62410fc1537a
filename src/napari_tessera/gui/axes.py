"""What the axes of a layer may mean, in words, and which of them becomes which letter."""

from __future__ import annotations

from collections.abc import Sequence

LETTERS = {
    "t": "T",
    "time": "T",
    "frame": "T",
    "z": "Z",
    "depth": "Z",
    "slice": "Z",
    "c": "C",
    "ch": "C",
    "channel": "C",
    "y": "Y",
    "x": "X",
    "p": "P",
    "position": "P",
    "s": "S",
}
"""Names that viewers and file formats give to axes."""

LOOP_LETTERS = "TPSRQUVW"


def name_axes(ndim: int, is_rgb: bool, axis_labels: Sequence[str]) -> str | None:
    """Read the axes from a layer's axis labels; None where they do not name every axis.

    Parameters
    ----------
    ndim : int
        Axes of the layer, without RGB.
    is_rgb : bool
    axis_labels : sequence of str

    Examples
    --------
    >>> name_axes(3, False, ("t", "y", "x"))
    'TYX'
    """
    letters = [LETTERS.get(label.strip().lower(), "") for label in axis_labels]
    axes = "".join(letters)
    is_clear = len(axes) == ndim == len(set(axes)) and axes[-2:] == "YX" and not (is_rgb and "C" in axes)
    return axes + "C" * is_rgb if is_clear else None


def list_axes(
    ndim: int, is_rgb: bool, axis_labels: Sequence[str] = (), has_channels: bool = True
) -> list[tuple[str, str]]:
    """List what the axes of a layer may mean, the likeliest first.

    Parameters
    ----------
    ndim : int
        Axes of the layer, without RGB; at least 2.
    is_rgb : bool
    axis_labels : sequence of str
    has_channels : bool
        Whether an axis may hold channels (label images have none).

    Returns
    -------
    list of (str, str)
        Words, and the axes as one letter each.

    Examples
    --------
    >>> list_axes(3, False)
    [('3-D volume', 'ZYX'), ('2-D planes, one by one', 'TYX'), ('2-D image, channels on axis 0', 'CYX')]
    """
    named = name_axes(ndim, is_rgb, axis_labels)
    loop_letters = _loop_letters(ndim, axis_labels)
    channel_places = [None] if is_rgb or not has_channels else [None, *range(ndim - 2)]
    found = [] if named is None or ("C" in named and not is_rgb and not has_channels) else [named]
    for place in channel_places:
        for is_volume in (True, False):
            axes = _lettered(ndim, place, is_volume, loop_letters)
            if axes is not None and axes + "C" * is_rgb not in found:
                found.append(axes + "C" * is_rgb)
    return [(describe_axes(axes, is_rgb), axes) for axes in found]


def describe_axes(axes: str, is_rgb: bool) -> str:
    """Say in words how an image with these axes is worked on."""
    n_loops = sum(axis not in "ZYXC" for axis in axes)
    one_by_one = ", one by one" if n_loops else ""
    what = "3-D volume" if "Z" in axes else "2-D plane" if n_loops else "2-D image"
    plural = "s" if n_loops else ""
    channels = f", channels on axis {axes.index('C')}" if "C" in axes and not is_rgb else ""
    return f"{what}{plural}{one_by_one}{channels}"


def _loop_letters(ndim: int, axis_labels: Sequence[str]) -> list[str]:
    """One letter for each axis but the last two, taken from its label where that is a loop's name."""
    wanted = [LETTERS.get(label.strip().lower(), "") for label in axis_labels[: ndim - 2]]
    wanted += [""] * (ndim - 2 - len(wanted))
    taken = {letter for letter in wanted if letter and letter in LOOP_LETTERS and wanted.count(letter) == 1}
    spare = (letter for letter in LOOP_LETTERS if letter not in taken)
    return [letter if letter in taken else next(spare) for letter in wanted]


def _lettered(ndim: int, channel_place: int | None, is_volume: bool, loop_letters: Sequence[str]) -> str | None:
    """Write the axes; a volume has its Z on the last axis before Y, X that holds no channels."""
    letters = list(loop_letters)
    if channel_place is not None:
        letters[channel_place] = "C"
    if is_volume:
        free = [place for place in range(ndim - 2) if place != channel_place]
        if not free:
            return None
        letters[free[-1]] = "Z"
    return "".join(letters) + "YX"

"""Say it of images whose axes were guessed, as a film that is taken for a volume gives other labels without a word."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from napari_tessera.cli.terminal import say
from napari_tessera.io.picture import Picture
from napari_tessera.jobs import Job
from napari_tessera.result import Result

Make = Callable[[Path, Path], tuple[Picture, Job[Result]]]
"""Reads an image and returns the job on it; the second path is free for what must not be held in memory."""

MEANINGS = {
    "ZYX": ("a volume", "TYX for a film"),
    "ZYXC": ("a volume in colour", "TYXC for a film in colour"),
    "TZYX": ("a film of volumes", "TCYX for a film with channels"),
}
"""What guessed axes mean, but for pictures, and an example of what they may be instead."""
WITH_CHANNELS_LAST = {"ZYX": "YXC for a picture with channels", "TZYX": "ZYXC for a volume with channels"}
"""The example where the last axis is the shortest."""


@contextmanager
def telling_guessed_axes(make: Make, *, is_quiet: bool) -> Iterator[Make]:
    """Give a `make` that says so of the first image whose axes were guessed; of others, the end says how many."""
    guessed: list[Path] = []

    def make_and_tell(image: Path, scratch: Path) -> tuple[Picture, Job[Result]]:
        picture, job = make(image, scratch)
        for note in () if is_quiet else picture.notes:
            say(f"{image}: {note}", is_error=True)
        if picture.has_guessed_axes and picture.axes in MEANINGS:
            if not (guessed or is_quiet):
                say(f"{image}: {guess_in_words(picture.axes, picture.data.shape)}", is_error=True)
            guessed.append(image)
        return picture, job

    yield make_and_tell
    if (more := len(guessed) - 1) > 0 and not is_quiet:
        what = "one more image" if more == 1 else f"{more} more images"
        say(f"tessera: the axes of {what} were guessed, too.", is_error=True)


def guess_in_words(axes: str, shape: Sequence[int]) -> str:
    """Say what the axes were taken for, and how to say what they are.

    Examples
    --------
    >>> guess_in_words("ZYX", (40, 512, 512))[-72:]
    'a volume. If they are others, say so, for example --axes TYX for a film.'
    """
    meaning, instead = MEANINGS[axes]
    if shape[-1] < min(shape[:-1]):
        instead = WITH_CHANNELS_LAST.get(axes, instead)
    return (
        f"the file does not say what its axes are; they were taken for {axes}, {meaning}. If they are others, say so, "
        f"for example --axes {instead}."
    )

"""What the command line says of a result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_tessera.chosen import chosen_in_words
from napari_tessera.cli.terminal import say
from napari_tessera.result import LabelImage, Result

WORDS = {"objects": ("object", "objects"), "segments": ("segment", "segments"), "classes": ("class", "classes")}


def report(image: Path, result: Result, written: Sequence[Path]) -> None:
    """Print the notes, how much was found, and which files hold it."""
    for note in result.notes:
        say(f"{image}: {note}", is_error=True)
    seconds = result.provenance.get("seconds")
    took = f" in {seconds:.2f} s" if isinstance(seconds, (int, float)) else ""
    further = "".join(f", {path}" for path in written[1 : len(result.images)])
    chosen = chosen_in_words(result)
    say(f"{image}: {count_in_words(result.images[0])}{took} -> {written[0]}{further}{chosen and f' ({chosen[:-1]})'}")


def count_in_words(image: LabelImage) -> str:
    """Say how many objects or classes there are, or whose probabilities these are."""
    if image.kind == "probabilities":
        return f"probabilities of {image.name}"
    found = image.table["label"] if "label" in image.table else np.setdiff1d(np.unique(image.data), [0])
    count = len(np.unique(found))  # a class of a film has a row in each frame
    singular, plural = WORDS[image.kind]
    return f"{count} {singular if count == 1 else plural}"

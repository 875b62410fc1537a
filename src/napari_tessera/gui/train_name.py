"""The name under which a trained model is saved."""

from __future__ import annotations

from pathlib import Path

from napari_tessera import catalogue
from napari_tessera.errors import ParameterError
from napari_tessera.io.model_file import CHECKPOINT, ENDING

FIRST_NAME = "fine-tuned"
MOST_NAMES = 1000


def free_name(wish: str = FIRST_NAME) -> str:
    """Return the name wished for, or one like it that no model has, nor a training that was not ended."""
    taken = {entry.name.casefold() for entry in catalogue.shipped_models()}
    folder = catalogue.user_folder()
    names = [wish, *(f"{wish}-{number}" for number in range(2, MOST_NAMES))]
    return next(name for name in names if name.casefold() not in taken and not is_on_disk(folder / (name + ENDING)))


def is_on_disk(model: Path) -> bool:
    """Say whether there is a model, or the checkpoint of a training that was to become it."""
    return model.exists() or model.with_name(model.name + CHECKPOINT).exists()


def path_for(name: str, may_exist: bool = False) -> Path:
    """Return where a model of this name is saved.

    Raises
    ------
    ParameterError
        If it cannot be a model's name, or there is one of this name.
    """
    name = catalogue.checked_name(name.strip())
    path = catalogue.user_folder() / (name + ENDING)
    is_taken = path.exists() or any(entry.name.casefold() == name.casefold() for entry in catalogue.shipped_models())
    if is_taken and not may_exist:
        raise ParameterError(
            f'There is a model {name!r} already, and none is ever replaced. Give another name under "Save as", such as '
            f"{free_name(name)!r}.",
            "name",
        )
    return path

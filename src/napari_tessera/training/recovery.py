"""Save the model of a training that was interrupted, by Cancel or a power cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_tessera.core.atomic_writes import is_locked
from napari_tessera.core.errors import FileError, InputError, ModelError
from napari_tessera.core.file_checks import parse_json, short_lived_folder
from napari_tessera.core.jobs import Job, Progress, finish_writing
from napari_tessera.models.header import CHECKPOINT, HEADER, LOCK, read_header
from napari_tessera.models.registry import ModelEntry, import_model, user_folder
from napari_tessera.models.safetensors import ENDING, open_tensors

if TYPE_CHECKING:
    from napari_tessera.training.checkpoint import State
    from napari_tessera.training.config import TrainingConfig

# Heavy modules are imported in functions, in a thread, so that a widget opens at once.

CUT_SHORT = "The training was interrupted at step {} of {}: this is the model of its last checkpoint."


@dataclass(frozen=True)
class Interrupted:
    """A training that did not end, and is not running."""

    path: Path  # of its checkpoint
    step: int  # steps done
    steps: int  # steps planned
    when: datetime  # when the checkpoint was written

    @property
    def name(self) -> str:
        """The name of its model."""
        return self.path.name.removesuffix(ENDING + CHECKPOINT)


def interrupted(folder: Path | None = None) -> list[Interrupted]:
    """List the trainings in a folder of models whose checkpoints are newer than their models, the latest first.

    The default is the folder of the user's models.
    """
    found = [each for path in _checkpoints(folder) if (each := _look_at(path)) is not None and _is_lost(each)]
    return sorted(found, key=lambda each: each.when, reverse=True)


def unreadable(folder: Path | None = None) -> list[str]:
    """List the checkpoints that cannot be read, each with the reason; `folder` as for `interrupted`."""
    reasons = []
    for path in _checkpoints(folder):
        try:
            _read_checkpoint_header(path)
        except ModelError as error:
            reasons.append(str(error))
    return reasons


def delete_checkpoint(out: Path) -> None:
    """Delete the checkpoint of the model file `out`, if the model is complete."""
    finish_writing()
    left = _look_at(out.with_name(out.name + CHECKPOINT))
    if left is not None and _steps_of(out) >= left.step and not _is_under_way(out):
        with suppress(OSError):
            left.path.unlink()


def import_checkpoint(path: str | Path, name: str | None = None, *, overwrite: bool = False) -> Job[ModelEntry]:
    """Save the model of an interrupted training in the user's models; the checkpoint is kept.

    The weights are the best by validation; without a validation, the averaged ones. The name is that of the training if
    it is not given. An InputError says that this is not a checkpoint, or was written by an earlier version; a
    ModelError, that it is missing or damaged, or the name is taken; other errors are those of `registry.import_model`.
    """
    from napari_tessera.models.load_torch import load_torch

    yield from load_torch()
    from napari_tessera.models.weights import read_tensors, save_model
    from napari_tessera.training.export import training_record, with_record

    yield Progress(0, 1, "Reading the checkpoint")
    finish_writing()
    path = Path(path)
    _, header = read_tensors(path)
    with short_lived_folder() as folder:
        model = folder / f"model{ENDING}"
        with _foreign_refused(path):
            state, plan = _state_of(path, header)
            doubts = [*header["model"]["doubts"], CUT_SHORT.format(state.step, plan.steps)]
            images, scored_on = header["model"]["images"], header["model"].get("scored_on", {})
            record = training_record(state, plan, images, header["identity"]["data"], doubts, "cpu", scored_on)
            save_model(model, state.net, with_record(renamed(header["model"]["header"], name), record))
        return import_model(model, name, overwrite=overwrite)


def renamed(header: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    """Return the header with another name; a title that equals the name changes with it."""
    if name is None or header["title"] != header["name"]:
        return header
    return {**header, "title": name}


def _checkpoints(folder: Path | None) -> list[Path]:
    finish_writing()
    folder = user_folder() if folder is None else folder
    return sorted(folder.glob(f"*{ENDING}{CHECKPOINT}")) if folder.is_dir() else []


def _look_at(path: Path) -> Interrupted | None:
    """Read an interrupted training from its checkpoint, or None if unusable."""
    try:
        header, when = _read_checkpoint_header(path), datetime.fromtimestamp(path.stat().st_mtime)
    except (ModelError, OSError):
        return None
    step, steps = header["step"], header["identity"].get("steps")
    return Interrupted(path, step, steps, when) if step and steps and "header" in header.get("model", {}) else None


def _read_checkpoint_header(path: Path) -> dict[str, Any]:
    """Read the header of a checkpoint, without its tensors; a ModelError says that it is missing or damaged."""
    from napari_tessera.core.record_schema import check_fields
    from napari_tessera.training.checkpoint import CheckpointHeader

    with open_tensors(path) as file:
        header: dict[str, Any] = parse_json(file.texts.get(HEADER, "{}"))
        check_fields(CheckpointHeader, header)
    return header


def _is_lost(left: Interrupted) -> bool:
    """Return whether a training is not running, and is ahead of its model, if any."""
    out = left.path.with_name(left.path.name.removesuffix(CHECKPOINT))
    return left.step > _steps_of(out) and not _is_under_way(out)


def _steps_of(model: Path) -> int:
    try:
        return int(read_header(model)["training"].get("steps") or 0)
    except ModelError:
        return 0


def _is_under_way(out: Path) -> bool:
    lock = out.with_name(out.name + LOCK)
    return lock.exists() and is_locked(lock)


def _state_of(path: Path, header: Mapping[str, Any]) -> tuple[State, TrainingConfig]:
    """Return the network of a checkpoint with the kept weights, and the configuration of the training."""
    from napari_tessera.training.checkpoint import DATA, Checkpoint
    from napari_tessera.training.config import TrainingConfig
    from napari_tessera.training.export import check_widths
    from napari_tessera.training.loop import start
    from napari_tessera.training.unet_task import new_network

    if not isinstance(header, dict) or not header.get("model"):
        raise InputError(
            f"{path} was written by an earlier Tessera, and does not describe its model. Resume the training "
            "that wrote it: `tessera train` with the same images and settings."
        )
    plan = TrainingConfig(**{name: value for name, value in header["identity"].items() if name != DATA})
    check_widths(plan)
    state = start(new_network(plan), plan.schedule(), Checkpoint(path, header["identity"]))
    state.net.load_state_dict(state.kept)
    return state, plan


@contextmanager
def _foreign_refused(path: Path) -> Iterator[None]:
    """Raise a clear error for a file that is not a valid checkpoint."""
    try:
        yield
    except ModelError as error:  # it names the path of the model, which the user does not know
        reason = str(error).split(" was not written: ")[-1]
        raise InputError(f"{path} does not hold a valid model: {reason}") from error
    except (FileError, InputError):
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} is damaged, or not a checkpoint of Tessera: {error}.") from error

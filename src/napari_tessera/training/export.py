"""Write a trained model: its header, its model card and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_tessera.core.atomic_writes import sync_folder, write_to_disk, write_whole, written_together
from napari_tessera.core.errors import ParameterError
from napari_tessera.core.file_checks import check_exists, explain_damage
from napari_tessera.core.jobs import Job, Progress
from napari_tessera.core.record_schema import check_fields
from napari_tessera.core.result import utc_now, versions
from napari_tessera.models.header import ModelTexts, check_architecture
from napari_tessera.training.data.advice import advice_on_end
from napari_tessera.training.data.dataset import size_of
from napari_tessera.training.data.sources import TRAIN
from napari_tessera.training.report import ReportImage, describe_scores, report_page
from napari_tessera.training.settings import DIAMETER_PX, Training, words
from napari_tessera.training.validation import Where, segment_all

if TYPE_CHECKING:
    from napari_tessera.training.checkpoint import State
    from napari_tessera.training.config import TrainingConfig
    from napari_tessera.training.data.dataset import Dataset

CLICK_CHANNELS = ["red", "green", "blue", "clicks on the object", "clicks beside it", "box", "mask so far"]
SHOWN = 6
"""Validation images shown in the report."""


@dataclass(frozen=True)
class TrainingResult:
    """A model that was written.

    Attributes
    ----------
    path, report : Path
        The model file, and the page about its training.
    header : mapping
        Header of the model file; ``header["training"]`` is the record of the training.
    is_finished : bool
        False if the training was stopped before its last step and before its time was over; the same call resumes it.
    """

    path: Path
    report: Path
    header: Mapping[str, Any]
    is_finished: bool


def report_path(out: Path) -> Path:
    """Return the path of a model's report."""
    return out.with_name(out.stem + ".report.html")


def describe(out: Path, settings: Training, plan: TrainingConfig, data: Dataset) -> dict[str, Any]:
    """Return the header of the model, without scores.

    A ParameterError says that there are more or fewer names than classes, or that a model file cannot hold a text or
    the network; a FileError, that the card does not exist, or is not text.
    """
    from napari_tessera.inference.normalization import channel_names

    is_objects = plan.task == "objects"
    title = settings.title or f"{'Objects' if is_objects else 'Classes'} learnt from {len(data.names[TRAIN])} images"
    return {
        **checked_texts(
            name=settings.name or out.stem,
            title=title,
            summary=settings.summary or title,
            card=_read_card(settings.card) if settings.card else "",
            licence=settings.licence or "",
            cite=settings.cite or "",
            classes=class_names(settings, plan),
        ),
        "task": plan.task,
        "channels": CLICK_CHANNELS if plan.network == "click" else channel_names(plan.kind, plan.n_channels),
        "normalisation": normalisation_of(plan, data),
        "diameter_px": plan.diameter_px,
        "decoding": decoding_of(plan),
        **scoring_of(plan),
    }


def normalisation_of(plan: TrainingConfig, data: Dataset) -> dict[str, Any]:
    """Return how images become channels."""
    from napari_tessera.inference.normalization import normalisation

    if plan.network == "click":
        return {"kind": "window", "count": plan.n_channels}
    return normalisation(plan.kind, plan.n_channels, knows_bright_colours(plan, data), polarity_of(plan, data))


def knows_bright_colours(plan: TrainingConfig, data: Dataset) -> bool:
    """Return whether the training images include bright objects in colour; for images in colour or grey."""
    if plan.kind != "colours":
        return True
    bright = (each for each in data.learn if each.is_coloured and not each.levels.inverted)
    return any(bool(np.ptp(each.image[..., :3], axis=-1).any()) for each in bright)


def polarity_of(plan: TrainingConfig, data: Dataset) -> str | None:
    """Return the polarity of all images, for classes; objects are told from the ground in each image."""
    if plan.task == "objects" or plan.kind != "colours":
        return None
    return "dark" if data.learn[0].levels.inverted else "bright"


def decoding_of(plan: TrainingConfig) -> dict[str, float]:
    """Return how scores become objects, unless the validation images decide it."""
    from napari_tessera.inference.decode_unet import Decoding
    from napari_tessera.inference.detections_to_labels import DetectionThresholds

    if plan.network == "click":
        return {}
    if plan.start and plan.start["task"] == plan.task and plan.start["decoding"]:
        return dict(plan.start["decoding"])
    if plan.network == "mask-rcnn":
        return {name: value for name, value in asdict(DetectionThresholds()).items() if value is not None}
    if plan.task != "objects":
        return {}
    usual = Decoding()
    if plan.ndim == 3 and plan.diameter_px:  # objects of a volume are smaller on the network's grid
        usual = replace(usual, smoothing_px=usual.smoothing_px * plan.diameter_px / DIAMETER_PX[2])
    return asdict(usual)


def scoring_of(plan: TrainingConfig) -> dict[str, Any]:
    """Return how objects are rescored: as by the U-Net that was started from, if it has object scoring.

    A trained Mask R-CNN has its own scores.
    """
    start = plan.start or {}
    is_kept = plan.network == "unet" and plan.task == start.get("task") == "objects" and "scoring" in start
    return {"scoring": start["scoring"]} if is_kept else {}


def check_widths(plan: TrainingConfig) -> None:
    """Refuse a network that is too deep or too wide for a model file, before training starts."""
    from napari_tessera.models.weights import empty_network  # which loads torch

    try:
        check_architecture(plan.described_network())
        empty_network(plan.described_network())
    except ValueError as error:
        raise ParameterError(f"Training: {error}.", "widths") from error


def checked_texts(**said: Any) -> dict[str, Any]:
    """Return the user's texts about a model, if a model file can hold them; checked before hours of training."""
    try:
        check_fields(ModelTexts, said)
    except ValueError as error:
        raise ParameterError(f"Training: {error}.", str(error).partition(" ")[0]) from error
    return said


def _read_card(path: str) -> str:
    check_exists(path)
    with explain_damage(Path(path), "a text (UTF-8)"):
        return Path(path).read_text(encoding="utf-8")


def class_names(settings: Training, plan: TrainingConfig) -> list[str]:
    """Return the names of the classes, as given or numbered; refuse more or fewer names than classes."""
    count = 2 if plan.task == "objects" else plan.n_classes
    given = list(words(settings.classes))
    if given and len(given) != count:
        raise ParameterError(
            f"Training: `classes` has {len(given)} names, but there are {count} classes, background included.",
            "classes",
        )
    if not given and plan.start and (plan.start["task"], len(plan.start["classes"])) == (plan.task, count):
        return list(plan.start["classes"])
    if plan.task == "objects":
        return given or ["background", "object"]
    return given or ["background", *(f"class {number}" for number in range(1, count))]


def chosen_decoding(scores: Mapping[str, float]) -> dict[str, float]:
    """Return the decoding values that were chosen by the scores on the validation images."""
    return {"score": scores["least_score"]} if "least_score" in scores else {}


def training_record(
    state: State,
    plan: TrainingConfig,
    images: Mapping[str, Sequence[str]],
    digest: str,
    doubts: Sequence[str],
    device: str,
    scored_on: Mapping[str, int],
) -> dict[str, Any]:
    """Return the record of the training; see `dataset.Dataset` on images, digest and doubts."""
    import torch

    return {
        "images": images,
        "data_sha256": digest,
        "settings": plan.as_json(),
        "steps": state.step,
        "best_step": state.best_step,
        "scores": {name: round(value, 4) for name, value in state.scores.items() if name != "step"},
        "scored_step": state.scores.get("step"),
        "scored_on": dict(scored_on),
        "validations": state.history,
        "seconds": round(state.seconds_in_all),
        "finished": utc_now(),
        "device": device,
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "warnings": [*doubts, *(each.text for each in advice_on_end(state.losses, state.history))],
    }


def card(header: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """Write a model card in Markdown: task, training data, scores."""
    learnt, checked = record["images"].values()
    is_apart = not set(learnt) & set(checked)
    scores = ", ".join(f"{name} {value:.3f}" for name, value in record["scores"].items())
    where = f"{len(checked)} other images" if is_apart else "held-out annotation"
    lines = [
        f"# {header['name']}",
        header["title"],
        f"- finds {header['task']}: {', '.join(header['classes'][1:])}",
        f"- trained on {len(learnt)} images in {record['best_step']} steps, {record['seconds'] / 60:.0f} minutes",
        f"- validated on {where}: {scores}" if scores else "- not validated",
    ]
    if said := describe_scores(record):
        lines[-1] += f". {said}"
    if header["diameter_px"]:
        lines.append(f"- works at an object diameter of {header['diameter_px']:g} px")
    return "\n\n".join(lines[:2]) + "\n\n" + "\n".join(lines[2:]) + "\n"


def with_record(header: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Add the training record and the chosen values to a model's header."""
    decoding = header["decoding"] | chosen_decoding(record["scores"])
    chosen = {**header, "decoding": decoding, "training": record}
    return {**chosen, "card": header["card"] or card(chosen, record)}


def write_model(
    out: Path,
    header: dict[str, Any],
    state: State,
    plan: TrainingConfig,
    data: Dataset,
    device: Where,
    *,
    overwrite: bool,
) -> Job[TrainingResult]:
    """Write the model and its report, both or neither; then the report again, with examples."""
    from napari_tessera.models.device import choose
    from napari_tessera.models.weights import save_model

    scored_on = size_of(data.check, plan.task)
    record = training_record(state, plan, data.names, data.digest, data.doubts, choose(device), scored_on)
    yield Progress(plan.steps, plan.steps, "Writing the model", {"advice": record["warnings"][len(data.doubts) :]})
    full = with_record(header, record)
    with written_together([out, report_path(out)], overwrite=overwrite) as (model, report):
        save_model(model, state.net, full)
        write_to_disk(report, report_page(full, state.losses, []).encode())
    sync_folder(out.parent)
    yield Progress(plan.steps, plan.steps, "Writing the report")
    examples = (data.check or data.learn)[:SHOWN]
    found = yield from segment_all(state.net, full, examples, device)
    shown = [
        ReportImage(each.name, each.image, each.labels, labels) for each, labels in zip(examples, found, strict=True)
    ]
    write_whole(report_path(out), report_page(full, state.losses, shown).encode())
    is_finished = state.step >= plan.steps or state.has_settled(plan.patience)
    return TrainingResult(out, report_path(out), full, is_finished)

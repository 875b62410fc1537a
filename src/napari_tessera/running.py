"""Run a request, and record what ran."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_tessera import catalogue, provenance
from napari_tessera.errors import ModelError, ParameterError, explaining_lack_of_memory
from napari_tessera.frames import run_region
from napari_tessera.jobs import Job, Progress, forward, part_of
from napari_tessera.request import Request
from napari_tessera.result import Chosen, Found, LabelImage, Result
from napari_tessera.room import check_room
from napari_tessera.spec import Table

SCIPY = "SciPy, which the methods are made of,"
CHANNEL = "channel"
Models = dict[str, dict[str, Any]]
"""Name and SHA-256 of a model file, and of the one it asks for a second opinion, by the parameter that names it."""


def job(request: Request) -> Job[Result]:
    """Run a request: yields `Progress`, returns the `Result`.

    Raises
    ------
    RunError
        If memory does not suffice.
    """
    check_room("scipy.linalg", SCIPY)
    with explaining_lack_of_memory(request.method.name, request.main.shape):
        return (yield from _recorded_run(request))


def _recorded_run(request: Request) -> Job[Result]:
    started, clock = provenance.now(), time.perf_counter()
    yield Progress(0, 100, "Starting")
    models = _models(request)
    # Read now: the model may be gone when the run ends.
    names = request.method.class_names(request.parameters) if request.kind in ("classes", "probabilities") else ()
    found = yield from part_of(forward(run_region(request)), 0, 95, 100)
    yield Progress(95, 100, "Recording")
    seconds = round(time.perf_counter() - clock, 3)
    record = yield from part_of(_record(request, models, found.chosen, started, seconds), 95, 5, 100)
    images = _images(request, found, names)
    return Result(images, record, (*request.notes, *found.notes, *_notes(request, images[0], models)))


def _images(request: Request, found: Found, names: Sequence[str]) -> tuple[LabelImage, ...]:
    """Name what was found: the labels, or the probabilities of each class, and further images after them."""
    placed = request.spatial
    others = tuple(LabelImage(each.name, each.data, placed, each.kind, each.table) for each in found.others)
    if request.kind != "probabilities":
        table = with_class_names(found.table, names)
        return (LabelImage(request.method.name, found.labels, placed, request.kind, table), *others)
    named = zip(names, found.labels, strict=True)
    return (*(LabelImage(name, data, placed, request.kind, {}) for name, data in named), *others)


def with_class_names(table: Table, names: Sequence[str]) -> Table:
    """Say in a table of classes 1…K how each is called, if it is one of classes that have names."""
    if not table or not names:
        return table
    return {"label": table["label"], "class": np.array(names)[table["label"] - 1], **table}


def _record(request: Request, models: Models, chosen: Chosen, started: str, seconds: float) -> Job[dict[str, Any]]:
    main = yield from provenance.described(request.main)
    inputs: dict[str, Any] = {request.main_name: {"name": request.name, **main}}
    for name, array in request.inputs.items():
        if name != request.main_name:
            inputs[name] = None if array is None else (yield from provenance.embed(array))
    for name, made_by in request.made_by.items():
        if inputs.get(name) is not None:
            inputs[name]["made_by"] = made_by
    return provenance.make_record(
        request.method.name,
        request.parameters,
        request.layout.axes,
        request.spacing,
        inputs,
        unit=request.spatial.unit,
        region=request.region and request.region.to_json(),
        blocks=request.blocks and request.blocks.to_json(),
        model=next(iter(models.values()), None),
        **({"models": models} if len(models) > 1 else {}),
        **({"chosen": dict(chosen)} if chosen else {}),
        started=started,
        seconds=seconds,
    )


def _models(request: Request) -> Models:
    """Say which model files are used: for each parameter that names one, its name and its SHA-256."""
    used = {}
    for parameter in request.method.parameters:
        if parameter.model is not None and parameter.matters(request.parameters):
            entry = catalogue.find(request.parameters[parameter.name])
            used[parameter.name] = {"name": entry.name, "sha256": entry.sha256(), **_second(entry)}
    return used


def _second(entry: catalogue.ModelEntry) -> dict[str, Any]:
    """Say which network a model asks for a second opinion, if it asks for one; None where that is not there."""
    if not entry.header.get("second_opinion"):
        return {}
    second = catalogue.second_of(entry.header)
    return {"second": second and {"name": second.name, "sha256": second.sha256()}}


def _notes(request: Request, image: LabelImage, models: Models) -> tuple[str, ...]:
    notes = []
    if models and not _are_still_there(request, models):
        names = " and ".join(repr(model["name"]) for model in models.values())
        notes.append(
            f"The file of the model {names} was replaced or removed during the run; the record names the one "
            "that was there at the start."
        )
    if image.kind != "probabilities" and isinstance(image.data, np.ndarray) and not image.data.any():
        notes.append(f"Nothing was found: every label is 0. {_hint(request)}")
    return tuple(notes)


def _are_still_there(request: Request, models: Models) -> bool:
    try:
        return _models(request) == models
    except (ParameterError, ModelError):
        return False


def _hint(request: Request) -> str:
    """Say which settings to try, from those that the method has and that matter with the others."""
    names = [parameter.name for parameter in request.method.parameters if parameter.matters(request.parameters)]
    names = [name for name in names if name != CHANNEL or request.layout.has_channels]
    decisive = [f"`{name}`" for name in request.method.decisive if name in names]
    if decisive:
        return f"Look at {', '.join(decisive[:-1])} and {decisive[-1]}." if decisive[1:] else f"Look at {decisive[0]}."
    return "Try another rule, or less strict settings." if "rule" in names else "Try less strict settings."

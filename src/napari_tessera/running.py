"""Run a request, and record what ran."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from napari_tessera import catalogue, provenance
from napari_tessera.errors import RunError
from napari_tessera.frames import run_region
from napari_tessera.jobs import Job, Progress, forward, part_of
from napari_tessera.request import Request
from napari_tessera.result import LabelImage, Result
from napari_tessera.spec import Table


def job(request: Request) -> Job[Result]:
    """Run a request: yields `Progress`, returns the `Result`."""
    started, clock = provenance.now(), time.perf_counter()
    yield Progress(0, 100, "Starting")
    try:
        labels, table = yield from part_of(forward(run_region(request)), 0, 95, 100)
    except MemoryError as error:
        raise RunError(
            f"{request.method.name} ran out of memory on an image of shape {request.main.shape}. "
            "Segment a region or one plane, or close other programs."
        ) from error
    yield Progress(95, 100, "Recording")
    seconds = round(time.perf_counter() - clock, 3)
    record = yield from part_of(_record(request, started, seconds), 95, 5, 100)
    images = _images(request, labels, table)
    return Result(images, record, _notes(images[0]))


def _images(request: Request, found: np.ndarray, table: Table) -> tuple[LabelImage, ...]:
    """Name what was found: one label image, or the probabilities of each class."""
    if request.kind != "probabilities":
        return (LabelImage(request.method.name, found, request.spatial, request.kind, table),)
    names = request.method.class_names(request.parameters)
    return tuple(LabelImage(*pair, request.spatial, request.kind, {}) for pair in zip(names, found, strict=True))


def _record(request: Request, started: str, seconds: float) -> Job[dict[str, Any]]:
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
        model=_model(request),
        started=started,
        seconds=seconds,
    )


def _model(request: Request) -> dict[str, str] | None:
    """Say which model file was used: its name and its SHA-256."""
    for parameter in request.method.parameters:
        if parameter.model is not None:
            entry = catalogue.find(request.parameters[parameter.name])
            return {"name": entry.name, "sha256": entry.sha256()}
    return None


def _notes(image: LabelImage) -> tuple[str, ...]:
    if image.kind == "probabilities" or not isinstance(image.data, np.ndarray) or image.data.any():
        return ()
    return ("Nothing was found: every label is 0. Try another rule, or less strict settings.",)

"""The request of a run, read from the widget; its jobs (run, cost estimate, scores), and the same run as code."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_tessera.core.jobs import Job, Progress, subtask
from napari_tessera.core.method import Method
from napari_tessera.core.region import Region
from napari_tessera.core.result import Result
from napari_tessera.core.spatial import PIXEL, Spatial
from napari_tessera.engine import precompile as compiled
from napari_tessera.methods.registry import method_named

if TYPE_CHECKING:
    from napari_tessera.engine.bind import Request
    from napari_tessera.engine.cost_estimate import Forecast


# Modules that compute are imported inside functions, in the thread: a widget opens without waiting for SciPy.

BYTES_AT_ONCE = 8_000_000
SECONDS_BETWEEN_LOOKS = 0.05


@dataclass(frozen=True)
class RunRequest:
    """One run: image, method, settings.

    Attributes
    ----------
    method : str
    image : array
        The main input, in memory or on disk.
    axes : str
    spatial : Spatial
        Placement of the labels.
    name : str
        Name of the main input.
    inputs : dict of str to array
        Other inputs.
    parameters : dict
        Sizes are in pixels.
    region : Region or None
    input_records : dict of str to record
    recipe : record or None
        Replay this record, with its parameters and its region.
    """

    method: str
    image: Any
    axes: str
    spatial: Spatial
    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    region: Region | None = None
    input_records: Mapping[str, Any] = field(default_factory=dict)
    recipe: Any = None


def bound(question: RunRequest, measure: bool = True) -> Request:
    """Check the request, and load its arrays into memory."""
    from napari_tessera.engine import api

    return api.bind(
        question.method,
        question.image,
        axes=question.axes,
        spatial=question.spatial,
        region=question.region,
        name=question.name,
        input_records=question.input_records,
        measure=measure,
        **question.inputs,
        **question.parameters,
    )


def run_request(question: RunRequest) -> Job[Result]:
    """Run the request; nothing, not even reading the image, happens before the first step."""
    yield Progress(0, 100, "Reading the image")
    from napari_tessera.engine import api

    question = yield from subtask(snapshot(question), 0, 2, 100)
    if question.recipe is not None:
        job = api.replay(
            question.recipe, question.image, spatial=question.spatial, name=question.name, **question.inputs
        )
        return (yield from subtask(job, 2, 98, 100))
    request = bound(question)
    return (yield from subtask(api.job(request), 2, 98, 100))


def estimate_cost(question: RunRequest, is_busy: Callable[[], bool]) -> Job[Forecast | None]:
    """Estimate time and memory of a run, once nothing else is busy, since the speed of the device is measured."""
    from napari_tessera.engine.cost_estimate import forecast, models_of

    method = method_named(question.method)
    if not models_of(method, question.parameters):
        return None
    while is_busy():
        yield Progress(0, 1, "Waiting")
        time.sleep(SECONDS_BETWEEN_LOOKS)
    from napari_tessera.models.load_torch import load_torch

    yield from load_torch()
    return forecast(method, question.axes, question.image.shape, question.region, question.parameters)


def in_space(axes: str) -> str:
    """Return whether an image is processed in planes ("YX") or volumes ("ZYX")."""
    return "ZYX" if "Z" in axes else "YX"


def compiling(question: RunRequest) -> Job[None]:
    """Compile what a request needs, without delaying the window; this returns at once if it is compiled already."""
    method = method_named(question.method)
    return compiled.precompile(method, str(question.image.dtype), in_space(question.axes), question.parameters)


def needs_network(method: Method) -> bool:
    """Return whether a method runs a network from a model file."""
    return any(parameter.model is not None for parameter in method.parameters)


def snapshot(question: RunRequest) -> Job[RunRequest]:
    """Copy the labels of a request, since the user may paint on them while the job runs."""
    inputs = {}
    for name, array in question.inputs.items():
        inputs[name] = yield from _copied(array)
    main = question.image
    if not method_named(question.method).takes_image:
        main = yield from _copied(main)
    return replace(question, inputs=inputs, image=main)


def _copied(array: Any) -> Job[Any]:
    """Copy an array in memory in small steps; arrays on disk cannot be painted, and are not copied."""
    if not isinstance(array, np.ndarray):
        return array
    copy = np.empty_like(array)
    rows = max(1, len(array) * BYTES_AT_ONCE // max(1, array.nbytes))
    for start in range(0, len(array), rows):
        yield Progress(start, len(array), "Copying labels")
        copy[start : start + rows] = array[start : start + rows]
    return copy


def scoring(question: RunRequest) -> Job[dict[str, Any]]:
    """Score the labels of a comparison within its region, as `tessera.evaluate` does."""
    yield Progress(0, 1, "Scoring")
    from napari_tessera.engine.bind import cropped
    from napari_tessera.metrics.segmentation import evaluation

    request = bound(question, measure=False)
    inside = None
    if request.region is not None:
        request, crop = cropped(request)
        inside = crop.inside
    truth, prediction = (request.inputs[name] for name in ("truth", "prediction"))
    assert truth is not None
    assert prediction is not None
    if inside is not None:
        truth, prediction = truth * inside, prediction * inside
    return (yield from evaluation(truth, prediction))


def as_python(question: RunRequest) -> str:
    """Return the run as Python code, with names in place of arrays."""
    arguments = [f'"{question.method}"', "image", f'axes="{question.axes}"']
    if set(question.spatial.spacing) != {1.0}:
        arguments += [f"spacing={question.spatial.spacing}", f'unit="{question.spatial.unit}"']
    arguments += [f"{name}={name}" for name in question.inputs]
    arguments += [f"{name}={value!r}" for name, value in _changed(question).items()]
    return f"import napari_tessera as tessera\n\nresult = tessera.segment({', '.join(arguments)})\n"


def as_command(question: RunRequest) -> str:
    """Return the run as a command, with file names such as IMAGE.tif."""
    parts = ["tessera", question.method.replace("_", "-"), "IMAGE.tif", "-o", "OUT.tif", "--axes", question.axes]
    spatial = question.spatial
    if set(spatial.spacing) != {1.0} or spatial.unit != PIXEL:
        parts += ["--spacing", *map(str, spatial.spacing), "--unit", spatial.unit]
    for name in question.inputs:
        parts += [f"--{name.replace('_', '-')}", f"{name.upper()}.tif"]
    for name, value in _changed(question).items():
        parts += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(parts)


def _changed(question: RunRequest) -> dict[str, Any]:
    """Return the parameters that have an effect and differ from their default."""
    parameters = method_named(question.method).parameters
    values = question.parameters
    return {
        parameter.name: values[parameter.name]
        for parameter in parameters
        if parameter.matters(values) and values[parameter.name] != parameter.default
    }

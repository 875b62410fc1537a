"""The request of a run, read from the widget; its jobs (run, cost estimate, scores), and the same run as code."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_tessera.core.jobs import BEAT_SECONDS, Job, Progress, subtask
from napari_tessera.core.method import Method
from napari_tessera.core.region import Region
from napari_tessera.core.result import Result
from napari_tessera.core.spatial import PIXEL, Spatial
from napari_tessera.core.spec import Table
from napari_tessera.gui.form.text import changed_parameters

if TYPE_CHECKING:
    from napari_tessera.engine.bind import Request
    from napari_tessera.engine.cost_estimate import Forecast

# Modules that compute are imported inside functions, in the thread: a widget opens without waiting for SciPy.

BYTES_AT_ONCE = 8_000_000


@dataclass(frozen=True)
class RunRequest:
    """One run: method, image, settings.

    `things` has the new number of each label of an input that is a panoptic result: stuff is no object.

    `intensities`, with axes of their own, are measured in the labels that a method makes from labels.

    `image` and `name` are the main input and its name, `inputs` the others; arrays may be on disk. `spatial` places the
    labels, and sizes in `parameters` are in pixels. A `recipe` is replayed with its own parameters and region.
    """

    method: Method
    image: Any
    axes: str
    spatial: Spatial
    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    region: Region | None = None
    input_records: Mapping[str, Any] = field(default_factory=dict)
    recipe: Any = None
    things: Mapping[str, np.ndarray] = field(default_factory=dict)
    intensities: Any = None
    intensity_axes: str = ""


def bound(request: RunRequest, measure: bool = True) -> Request:
    """Check the request, and load its arrays into memory."""
    from napari_tessera.engine import api

    return api.bind(
        request.method.name,
        request.image,
        axes=request.axes,
        spatial=request.spatial,
        region=request.region,
        name=request.name,
        input_records=request.input_records,
        measure=measure,
        **request.inputs,
        **request.parameters,
    )


def run_request(request: RunRequest) -> Job[Result]:
    """Run the request; nothing, not even reading the image, happens before the first step."""
    yield Progress(0, 100, "Reading the image")
    from napari_tessera.engine import api

    request = yield from subtask(snapshot(request), 0, 2, 100)
    if request.recipe is None:
        job = api.job(bound(request))
    else:
        about = {"spatial": request.spatial, "name": request.name}
        job = api.replay(request.recipe, request.image, **about, **request.inputs)
    result = yield from subtask(job, 2, 88, 100)
    if request.intensities is None:
        return result
    return (yield from subtask(_with_intensities(request, result), 90, 10, 100))


def _with_intensities(request: RunRequest, result: Result) -> Job[Result]:
    """Add the intensities to the table of a result."""
    image, *others = result.images
    if not image.table:
        return result
    measured = yield from measuring(image.data, request.spatial, request.intensities, request.intensity_axes)
    names = ["label", *(axis.lower() for axis in request.axes if axis not in "ZYXC")]
    rows_of, wanted = (
        list(zip(*(table[name].tolist() for name in names), strict=True)) for table in (measured, image.table)
    )
    row_of = {key: row for row, key in enumerate(rows_of)}
    rows = [row_of[key] for key in wanted]
    columns = {name: column[rows] for name, column in measured.items() if name.startswith("intensity_")}
    return replace(result, images=(replace(image, table=image.table | columns), *others))


def estimate_cost(request: RunRequest, is_busy: Callable[[], bool]) -> Job[Forecast | None]:
    """Estimate time and memory of a run, once nothing else is busy, since the speed of the device is measured."""
    from napari_tessera.engine.cost_estimate import forecast, models_of

    if not models_of(request.method, request.parameters):
        return None
    while is_busy():
        yield Progress(0, 1, "Waiting")
        time.sleep(BEAT_SECONDS)
    from napari_tessera.models.load_torch import load_torch

    yield from load_torch()
    return forecast(request.method, request.axes, request.image.shape, request.region, request.parameters)


def snapshot(request: RunRequest) -> Job[RunRequest]:
    """Copy the labels of a request, since the user may paint on them while the job runs."""
    inputs = {}
    for name, array in request.inputs.items():
        inputs[name] = yield from _copied(array, request.things.get(name))
    main = request.image
    if not request.method.takes_image:
        main = yield from _copied(main, request.things.get(request.method.inputs[0].name))
    return replace(request, inputs=inputs, image=main)


def _copied(array: Any, numbers: np.ndarray | None) -> Job[Any]:
    """Copy an array in memory in small steps, with new `numbers` of its labels; those painted later stay.

    Arrays on disk cannot be painted, and are not copied.
    """
    if not isinstance(array, np.ndarray):
        return array
    copy = np.empty_like(array)
    rows = max(1, len(array) * BYTES_AT_ONCE // max(1, array.nbytes))
    for start in range(0, len(array), rows):
        yield Progress(start, len(array), "Copying labels")
        part = array[start : start + rows]
        if numbers is not None:
            part = np.where(part < len(numbers), numbers[np.minimum(part, len(numbers) - 1)], part)
        copy[start : start + rows] = part
    return copy


def measuring(labels: np.ndarray, spatial: Spatial, image: Any, axes: str) -> Job[Table]:
    """Measure all objects of labels placed by `spatial`, with intensities if there is an image with these `axes`."""
    yield Progress(0, 1, "Measuring")
    from napari_tessera.algorithms.regionprops import measure_objects
    from napari_tessera.engine import api
    from napari_tessera.engine.run import joined, prepared_arguments

    has_image = image is not None
    method, main, axes = ("threshold", image, axes) if has_image else ("refine", labels, spatial.axes)
    checked = api.bind(method, main, axes=axes, spatial=spatial)
    tables = []
    for frame in np.ndindex(checked.loop_shape):
        arguments, *_ = yield from prepared_arguments(checked, frame)
        part = np.ascontiguousarray(checked.layout.to_working(labels)[frame])
        intensities = arguments[checked.main_name] if has_image else None
        at = arguments.get("channel_axis")
        tables.append((yield from measure_objects(part, intensities, channel_axis=at, spacing=checked.spacing)))
    return joined(tables, checked)


def scoring(request: RunRequest) -> Job[dict[str, Any]]:
    """Score the labels of a comparison within its region, as `tessera.evaluate` does."""
    yield Progress(0, 1, "Scoring")
    from napari_tessera.engine.bind import cropped
    from napari_tessera.metrics.segmentation import evaluation

    checked, inside = bound(request, measure=False), None
    if checked.region is not None:
        checked, crop = cropped(checked)
        inside = crop.inside
    truth, prediction = (checked.inputs[name] for name in ("truth", "prediction"))
    assert truth is not None
    assert prediction is not None
    if inside is not None:
        truth, prediction = truth * inside, prediction * inside
    return (yield from evaluation(truth, prediction))


def as_python(request: RunRequest) -> str:
    """Return the run as Python code, with names in place of arrays."""
    arguments = [f'"{request.method.name}"', "image", f'axes="{request.axes}"']
    if set(request.spatial.spacing) != {1.0}:
        arguments += [f"spacing={request.spatial.spacing}", f'unit="{request.spatial.unit}"']
    arguments += [f"{name}={name}" for name in request.inputs]
    arguments += [f"{name}={value!r}" for name, value in _changed(request).items()]
    return f"import napari_tessera as tessera\n\nresult = tessera.segment({', '.join(arguments)})\n"


def as_command(request: RunRequest) -> str:
    """Return the run as a command, with file names such as IMAGE.tif."""
    spatial = request.spatial
    parts = ["tessera", request.method.name.replace("_", "-"), "IMAGE.tif", "-o", "OUT.tif", "--axes", request.axes]
    if set(spatial.spacing) != {1.0} or spatial.unit != PIXEL:
        parts += ["--spacing", *map(str, spatial.spacing), "--unit", spatial.unit]
    values = {name: f"{name.upper()}.tif" for name in request.inputs} | _changed(request)
    for name, value in values.items():
        parts += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(parts)


def _changed(request: RunRequest) -> dict[str, Any]:
    changed = changed_parameters(request.method, request.parameters)
    return {each.name: request.parameters[each.name] for each in changed}

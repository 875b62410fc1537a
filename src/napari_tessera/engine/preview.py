"""Live preview: run a method on the visible part of one plane, no finer than the screen.

Levels and centres that depend on the whole image are computed from an evenly spaced sample of the plane, so they do not
change with the view. A full run can give other labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Job, Progress, subtask
from napari_tessera.core.method import Method, Redecoding
from napari_tessera.core.result import MethodOutput
from napari_tessera.core.valid_area import Fill, find_fill
from napari_tessera.engine.bind import power_of
from napari_tessera.methods.registry import method_named

if TYPE_CHECKING:
    from napari_tessera.core.blockwise import TwoPass
    from napari_tessera.engine.bind import Request

# Heavy modules are imported in functions, so that a form with a preview opens without waiting for SciPy.

LARGEST_SAMPLE_PX = 250_000
LARGEST_LOOK_PX = 9_000_000
"""Of a plane up to this size, a network sees all for a preview."""
PLANE_NDIM = 2


@dataclass(frozen=True)
class View:
    """The visible part of one plane: pixels from (top, left) up to (bottom, right), exclusive, in steps of `step`."""

    planes: Mapping[str, int]
    top: int
    left: int
    bottom: int
    right: int
    step: int

    @classmethod
    def of(cls, planes: Mapping[str, int], corners: np.ndarray, shape: tuple[int, int], largest_px: int) -> View:
        """Fit a view into a plane of `shape`; `corners` are its first and last pixel, (2, 2) as y, x."""
        low = np.clip(np.floor(corners[0]), 0, np.array(shape) - 1).astype(int)
        high = np.clip(np.ceil(corners[1]) + 1, low + 1, shape).astype(int)
        step = max(1, math.ceil(math.sqrt(float(np.prod(high - low)) / largest_px)))
        low = low // step * step
        return cls(dict(planes), int(low[0]), int(low[1]), int(high[0]), int(high[1]), step)

    def index(self, axes: str) -> tuple[Any, ...]:
        """Index of the view in an array with these axes."""
        parts: dict[str, Any] = {
            **self.planes,
            "Y": slice(self.top, self.bottom, self.step),
            "X": slice(self.left, self.right, self.step),
        }
        return tuple(parts.get(axis, slice(None)) for axis in axes)


@dataclass
class PreviewCache:
    """The sample of the plane and its last measurement, shared by the previews of one image."""

    image: Any = None
    sample_of: Any = None
    sample: np.ndarray | None = None
    step: int = 1
    fitted_for: Any = None
    fitted: dict[str, Any] = field(default_factory=dict)
    fill: Fill | None = None
    looked_for: Any = None
    looking: Job[Any] | None = None
    seen: Any = None
    """What a network saw of the plane, `looked_for` with these settings; `looking` is the look that is under way, which
    goes on when a later preview with the same settings takes over."""


@dataclass(frozen=True)
class PreviewRequest:
    """A request for a preview."""

    method: str
    image: Any
    axes: str
    view: View
    parameters: Mapping[str, Any]
    inputs: Mapping[str, Any] = field(default_factory=dict)


def preview(sketch: PreviewRequest, memory: PreviewCache) -> Job[np.ndarray]:
    """Run a method on a view: one pixel for every `step` pixels of the view along y and x.

    `memory` is kept between calls; it is measured again when the image, the plane or the settings change.
    """
    yield Progress(0, 4, "Reading the view")
    from napari_tessera.engine.run import prepared_arguments

    redecoding = method_named(sketch.method).redecoding
    if redecoding is not None:
        return (yield from _decoded(redecoding, sketch, memory))
    view = sketch.view
    part = np.asarray(sketch.image[view.index(sketch.axes)])
    if part.dtype.kind == "f" and not np.isfinite(part).any():
        return np.zeros([side for axis, side in zip(_plane_axes(sketch), part.shape, strict=True) if axis != "C"], int)
    inputs = {name: _seen(array, sketch, view) for name, array in sketch.inputs.items()}
    request = _bound(sketch, part, view.step, inputs)
    if request.method.takes_image:
        request = replace(request, fill=_fill(sketch, memory))
    arguments, valid, _ = yield from prepared_arguments(request)
    arguments |= _without_marks_here(request, inputs, sketch)
    labels = yield from _labels(request.method, arguments.pop(request.main_name), arguments, sketch, memory)
    return labels if valid is None else np.where(valid, labels, 0)


def _labels(
    method: Method, image: np.ndarray, settings: dict[str, Any], sketch: PreviewRequest, memory: PreviewCache
) -> Job[np.ndarray]:
    if method.two_pass is not None:
        fitted = yield from _fitted(method.two_pass, sketch, memory, None)
        return (yield from subtask(_label(method.two_pass, image, fitted, settings), 2, 2, 4))
    measured = method.measured_over_whole(**settings)
    if measured is not None:
        two_pass, _, fix = measured
        fitted = yield from _fitted(two_pass, sketch, memory, method)
        settings = {**settings, **fix(fitted)}
    found = yield from subtask(method.function(image, **settings), 2, 2, 4)
    return MethodOutput.of(found).labels


def needs_a_look(sketch: PreviewRequest, memory: PreviewCache) -> bool:
    """Return whether a network must look at the plane first, which takes its time."""
    redecoding = method_named(sketch.method).redecoding
    is_seen = memory.seen is not None and memory.looked_for == _look_of(redecoding, sketch) if redecoding else True
    return not is_seen


def _look_of(redecoding: Redecoding, sketch: PreviewRequest) -> Any:
    """Return what a look depends on: the image, the plane, and the settings that are not quick."""
    slow = {name: value for name, value in sketch.parameters.items() if name not in redecoding.quick}
    return id(sketch.image), sketch.method, tuple(sorted(sketch.view.planes.items())), repr(sorted(slow.items()))


def _decoded(redecoding: Redecoding, sketch: PreviewRequest, memory: PreviewCache) -> Job[np.ndarray]:
    """Let the network look at the whole plane, unless it has, and decode what it saw in the view."""
    view, shape = sketch.view, dict(zip(sketch.axes, sketch.image.shape, strict=True))
    if shape["Y"] * shape["X"] > LARGEST_LOOK_PX:
        raise InputError(
            f"The plane is too large for a preview with a network ({shape['X']} × {shape['Y']} px; up to "
            f"{LARGEST_LOOK_PX / 1e6:.0f} million pixels are looked at). Choose a region and press Run."
        )
    wanted = _look_of(redecoding, sketch)
    if memory.looked_for != wanted:
        memory.looked_for, memory.seen = wanted, None
        memory.image = sketch.image  # so that its identity stays its own
        memory.looking = _look(redecoding, sketch)
    while memory.seen is None and memory.looking is not None:
        try:
            step = next(memory.looking)
        except StopIteration as end:
            memory.seen, memory.looking = end.value, None
        except BaseException:
            memory.looked_for = memory.looking = None
            raise
        else:
            yield step
    window = (slice(view.top, view.bottom), slice(view.left, view.right))
    return (yield from redecoding.decode(memory.seen, window, view.step, **sketch.parameters))


def _look(redecoding: Redecoding, sketch: PreviewRequest) -> Job[Any]:
    from napari_tessera.engine.run import prepared_arguments

    shape = dict(zip(sketch.axes, sketch.image.shape, strict=True))
    whole = View(sketch.view.planes, 0, 0, shape["Y"], shape["X"], 1)
    plane = np.asarray(sketch.image[whole.index(sketch.axes)])
    arguments, _, _ = yield from prepared_arguments(_bound(sketch, plane, 1, {}))
    return (yield from redecoding.look(arguments.pop("image"), **arguments))


def scaled(parameters: Mapping[str, Any], method: Method, step: int) -> dict[str, Any]:
    """Convert lengths and areas in pixels for an image of which every `step`-th pixel is used."""
    values = dict(parameters)
    for parameter in method.parameters:
        power = power_of(parameter, PLANE_NDIM)
        value = values.get(parameter.name)
        if value is None and parameter.name in values:
            value = method.usual.get(parameter.name)
        if step == 1 or not power or value is None:
            continue
        smaller = value / step**power
        smaller = round(smaller) if parameter.kind is int else smaller
        values[parameter.name] = min(max(smaller, parameter.range.low), parameter.range.high)
    return values


def _plane_axes(sketch: PreviewRequest) -> str:
    return "".join(axis for axis in sketch.axes if axis in "YXC")


def _fill(sketch: PreviewRequest, memory: PreviewCache) -> Fill:
    """Find what is no image, in the sample of the whole plane: the rim of a view tells nothing."""
    sample = _sample(sketch, memory)
    if memory.fill is None:
        axes = _plane_axes(sketch)
        fill = find_fill(sample, axes.index("C") if "C" in axes else None, may_be_transparent=sketch.axes.endswith("C"))
        memory.fill = replace(fill or Fill(), has_nan=None)  # the sample may miss it
    return memory.fill


def _bound(sketch: PreviewRequest, part: np.ndarray, step: int, inputs: Mapping[str, Any]) -> Request:
    from napari_tessera.engine import api

    parameters = scaled(sketch.parameters, method_named(sketch.method), step)
    return api.bind(sketch.method, part, axes=_plane_axes(sketch), measure=False, **inputs, **parameters)


def _fitted(
    two_pass: TwoPass, sketch: PreviewRequest, memory: PreviewCache, method: Method | None
) -> Job[dict[str, Any]]:
    """Measure the sample of the whole plane, unless the cache has it for the same settings."""
    yield Progress(1, 4, "Measuring the plane")
    from napari_tessera.core.blockwise import fit_whole, scale_whole
    from napari_tessera.engine.run import prepared_arguments

    sample = _sample(sketch, memory)
    wanted = (memory.sample_of, sketch.method, repr(sorted(sketch.parameters.items(), key=lambda item: item[0])))
    if wanted == memory.fitted_for:
        return memory.fitted
    request = replace(_bound(sketch, sample, memory.step, {}), fill=_fill(sketch, memory))
    settings, _, _ = yield from prepared_arguments(request)
    image = settings.pop(request.main_name)
    measured = None if method is None else method.measured_over_whole(**settings)
    if measured is not None:
        settings = measured[1]
    settings["scale"] = yield from scale_whole(two_pass, image, **settings)
    prepared = yield from subtask(two_pass.prepare(image, **settings), 1, 0.5, 4)
    fitted = yield from subtask(fit_whole(two_pass, prepared, PLANE_NDIM, **settings), 1.5, 0.5, 4)
    memory.fitted = {**fitted, "scale": settings["scale"]}
    memory.fitted_for = wanted
    return memory.fitted


def _label(two_pass: TwoPass, image: np.ndarray, fitted: dict[str, Any], settings: dict[str, Any]) -> Job[np.ndarray]:
    from napari_tessera.core.blockwise import apply_whole, join_whole

    settings = {**settings, "scale": fitted["scale"]}
    prepared = yield from two_pass.prepare(image, **settings)
    classes = yield from apply_whole(two_pass, prepared, PLANE_NDIM, fitted, **settings)
    touching = two_pass.touching(**settings)
    return classes if touching is None else (yield from join_whole(touching, classes, **settings))


def _sample(sketch: PreviewRequest, memory: PreviewCache) -> np.ndarray:
    """Return an evenly spaced sample of the whole plane."""
    shape = dict(zip(sketch.axes, sketch.image.shape, strict=True))
    corners = np.array([[0, 0], [shape["Y"] - 1, shape["X"] - 1]])
    whole = View.of(sketch.view.planes, corners, (shape["Y"], shape["X"]), LARGEST_SAMPLE_PX)
    wanted = (sketch.axes, whole)
    if memory.sample is None or memory.image is not sketch.image or memory.sample_of != wanted:
        memory.sample = np.ascontiguousarray(sketch.image[whole.index(sketch.axes)])
        memory.image, memory.sample_of, memory.step = sketch.image, wanted, whole.step
        memory.fitted_for = memory.fill = None
    return memory.sample


def _seen(array: Any, sketch: PreviewRequest, view: View) -> np.ndarray:
    """Cut labels or points to the view; a mark smaller than a step is kept."""
    label_axes = sketch.axes.replace("C", "")
    if getattr(array, "dtype", np.dtype(float)).kind != "f":
        whole = View(view.planes, view.top, view.left, view.bottom, view.right, 1)
        return _largest_of_blocks(np.asarray(array[whole.index(label_axes)]), view.step)
    points = np.asarray(array, float)
    here = np.ones(len(points), bool)
    for axis, plane in view.planes.items():
        here &= np.rint(points[:, label_axes.index(axis)]) == plane
    columns = [label_axes.index("Y"), label_axes.index("X")]
    places = np.floor((points[here][:, columns] - (view.top, view.left)) / view.step)
    size = -(-np.array([view.bottom - view.top, view.right - view.left]) // view.step)
    return places[np.all((places >= 0) & (places < size), axis=1)]


def _without_marks_here(
    request: Request, inputs: Mapping[str, np.ndarray], sketch: PreviewRequest
) -> dict[str, np.ndarray]:
    """Return the inputs that have marks, but none in the view; without any mark, an input counts as left out."""
    from napari_tessera.core.checks import has_marks

    left_out = [name for name, part in inputs.items() if request.inputs[name] is None]
    return {name: inputs[name] for name in left_out if has_marks(sketch.inputs[name])}


def _largest_of_blocks(labels: np.ndarray, step: int) -> np.ndarray:
    """Return the largest label in each block of `step` by `step` pixels; blocks at the far edges are smaller."""
    if step == 1:
        return labels
    rows = np.maximum.reduceat(labels, np.arange(0, labels.shape[0], step), axis=0)
    return np.maximum.reduceat(rows, np.arange(0, labels.shape[1], step), axis=1)

"""Replay records: one step, or several steps that use each other's labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from napari_tessera.core.checks import as_array, split_mask
from napari_tessera.core.errors import InputError, ModelError, ParameterError, did_you_mean
from napari_tessera.core.jobs import Job, Progress, subtask
from napari_tessera.core.labels import things_among
from napari_tessera.core.method import Method
from napari_tessera.core.region import Region
from napari_tessera.core.result import Result, describe_array, embedded
from napari_tessera.core.spatial import PIXEL, metres
from napari_tessera.engine.bind import Request, bind, is_stored
from napari_tessera.engine.run import job
from napari_tessera.methods.registry import method_named
from napari_tessera.models import registry as catalogue

THINGS = "things"
OPTIONS = ("spatial", "name", "measure")
"""Arguments of `bind` that a replay takes beside inputs."""
MOST_POINTS = 2**22
"""Allowed number of values of an input in a record, even for a small image."""


def replay(recipe: Mapping[str, Any] | Sequence[Mapping[str, Any]], image: Any, **inputs: Any) -> Job[Result]:
    """Replay a record, or a list of records one after the other, as a job; see `tessera.run`."""
    from napari_tessera.core.record_schema import check_recipe  # pydantic takes a quarter of a second to load

    try:
        steps = check_recipe(recipe)
        _refuse_unknown(inputs, steps)
        if not (is_stored(image) or np.ma.is_masked(image)):
            image = as_array(image, "The image")
        return (yield from _replayed(steps, image, inputs))
    except RecursionError as error:
        raise InputError(
            "The recipe cannot be replayed: its input was made by too many runs, one on the labels of another. Save "
            "the labels of an early run, and run the recipe's last steps on them."
        ) from error


def _refuse_unknown(inputs: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> None:
    """Refuse inputs that no step has."""
    known = list(dict.fromkeys(entry.name for step in steps for entry in method_named(step["method"]).inputs[1:]))
    for name in inputs:
        if name not in (*known, *OPTIONS):
            hint = did_you_mean(name, known) or f"It takes: {', '.join(known) or 'only the image'}."
            raise ParameterError(f"The recipe takes no input `{name}`. {hint}", name)


def _replayed(steps: Sequence[dict[str, Any]], image: Any, inputs: dict[str, Any]) -> Job[Result]:
    """Replay checked steps, at least one."""
    result: Result | None = None
    for done, record in enumerate(steps):
        takes_labels = not method_named(record["method"]).takes_image
        main = result_taken(result, steps[done - 1]) if takes_labels and result is not None else image
        request = yield from subtask(_bound_again(record, main, image, inputs), done, 0.1, len(steps))
        result = yield from subtask(job(request), done + 0.1, 0.9, len(steps))
    assert result is not None
    return result


def result_taken(result: Result, recipe: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Return the image of a result for the next step: the one that its last record names, or the first.

    "things" names the first image without its stuff.
    """
    record = recipe if isinstance(recipe, Mapping) else recipe[-1]
    wanted = record.get("taken")
    if wanted == THINGS:
        return things_among(result.labels, result.table)
    return next((image.data for image in result.images if image.name == wanted), result.labels)


def _made_again(recipe: Any, image: Any) -> Job[np.ndarray]:
    """Replay the run that made an input."""
    steps = [recipe] if isinstance(recipe, dict) else recipe
    return result_taken((yield from _replayed(steps, image, {})), recipe)


def _bound_again(record: dict[str, Any], main: Any, image: Any, inputs: dict[str, Any]) -> Job[Request]:
    """Bind a record's step again; inputs are those given, those made again by their records, or those in the record."""
    method = method_named(record["method"])
    parameters = method.declaration.checked(record["parameters"])
    options = {name: value for name, value in inputs.items() if name in OPTIONS}
    main_name, *others = (entry.name for entry in method.inputs)
    described = record.get("inputs") or {}
    how_main_was_made = (described.get(main_name) or {}).get("record")
    if how_main_was_made and main is image and not (yield from _is_the_same(image, described[main_name])):
        main = yield from _made_again(how_main_was_made, image)
    for name in others:
        if name in inputs:
            options[name] = inputs[name]
        elif described.get(name):
            options[name] = yield from _input_again(name, described[name], image)
    parameters |= _same_models(record, method, parameters)
    yield Progress(1, 1, "Checking")
    unit = record.get("unit", PIXEL)
    return bind(
        method.name,
        main,
        axes=record["axes"],
        spacing=record.get("spacing"),
        unit=PIXEL if metres(unit) is None else unit,  # a file may have any
        region=Region.from_json(record.get("region")),
        blocks=_blocks_again(record, main, described.get(main_name) or {}),
        **options,
        **parameters,
    )


def _blocks_again(record: Mapping[str, Any], main: Any, described: Mapping[str, Any]) -> Any:
    """Return the size of the blocks; False for an image that was segmented in one piece."""
    size = (record.get("blocks") or {}).get("size")
    is_as_large = list(np.shape(main)) == described.get("shape")
    return False if size is None and is_as_large else size


def _same_models(record: Mapping[str, Any], method: Method, parameters: Mapping[str, Any]) -> dict[str, str]:
    """Find the model files that the record was made with: another file with its name would give other labels."""
    used = [entry.name for entry in method.parameters if entry.model is not None and entry.matters(parameters)]
    recorded = record.get("models") or dict.fromkeys(used[:1], record.get("model"))
    known = {name: model for name, model in recorded.items() if name in used and model}
    renamed = {name: _name_now(parameters[name], model) for name, model in known.items()}
    for name, now in renamed.items():
        _check_second(now, known[name])
    return {name: now for name, now in renamed.items() if now != parameters[name]}


def _name_now(asked: str, recorded: Mapping[str, Any]) -> str:
    sha256 = str(recorded.get("sha256"))
    with suppress(ParameterError, ModelError):
        if catalogue.find(asked).sha256() == sha256:
            return asked
    entry = catalogue.with_sha256(sha256, asked)
    if entry is not None:
        return entry.name
    raise ModelError(
        f"The recipe was made with the model {recorded.get('name')!r} (SHA-256 {sha256[:12]}…), which is missing; "
        f'{asked!r} is another file now, or missing. Import the original file, or remove the entry "model" from the '
        "recipe to run it with the model of this name."
    )


def _check_second(name: str, recorded: Mapping[str, Any]) -> None:
    """Refuse a run whose second network (for rescoring) differs from the record: missing, or not there before."""
    entry = catalogue.find(name)
    said = entry.header.get("second_opinion")
    if "second" not in recorded or not said:
        return
    second = recorded["second"]
    if second is not None and (not isinstance(second, dict) or second.get("sha256") != said["sha256"]):
        raise InputError(
            f"The recipe is damaged: its `second` is {second!r:.80}, but the model {recorded.get('name')!r} is "
            f"rescored by a file with SHA-256 {said['sha256'][:12]}…. Take the original record."
        )
    was, is_now = second is not None, entry.second is not None
    if was != is_now:
        there, otherwise = ("with", "Import its original file") if was else ("without", "Remove it from the models")
        raise ModelError(
            f"The recipe was made with the model {recorded.get('name')!r} {there} rescoring by "
            f"{said['model']!r} (SHA-256 {said['sha256'][:12]}…), which is {'there' if is_now else 'missing'} now. "
            f'{otherwise}, or remove the entry "second" from the recipe to run it as it is now.'
        )


def _is_the_same(image: Any, described: Mapping[str, Any]) -> Job[bool]:
    """Return whether an array is the one that the record describes."""
    if list(np.shape(image)) != described.get("shape"):
        return False
    same_type = np.asarray(split_mask(image)[0]).astype(np.dtype(described["dtype"]), copy=False)
    return bool((yield from describe_array(same_type))["sha256"] == described.get("sha256"))


def _input_again(name: str, described: Mapping[str, Any], image: Any) -> Job[np.ndarray]:
    """Make an input again, or take it from the record."""
    if "record" in described:
        return (yield from _made_again(described["record"], image))
    shape = tuple(described["shape"])
    if math.prod(shape) > max(MOST_POINTS, math.prod(np.shape(image))):  # a short text can decompress to gigabytes
        raise InputError(
            f"The recipe's `{name}` has shape {shape}, but the image has {np.shape(image)}. Give it as {name}=array."
        )
    array = embedded(described)
    if array is None:
        raise InputError(f"The recipe was made with a large `{name}`, which it does not hold. Give it as {name}=array.")
    return array

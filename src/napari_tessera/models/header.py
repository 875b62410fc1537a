"""The header of a model file: its fields, and what each may be.

Model files: a network's tensors, and a header that says what it finds. Read without torch; nothing is run.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.core.errors import ModelError, visible
from napari_tessera.core.files import parse_json
from napari_tessera.models.safetensors import StoredTensor, TensorFile, open_tensors
from napari_tessera.models.tensor_shapes import (
    COUNTER,
    MOST_CHANNELS,
    VARIANCE,
    check_architecture,
    is_count,
    kind_of,
    tensor_shapes,
)

FORMAT = 1
TASKS = ("objects", "classes")
SMALLEST_DIAMETER_PX, LARGEST_DIAMETER_PX = 1, 5000
LARGEST_SMOOTHING_PX = 100
LARGEST_NUMBER = 1e9
SMALLEST_SPREAD = 1e-9
SHARES = (
    "score", "mask_level", "most_hidden", "object_level", "heart_level", "prominence", "smallest_share", "small_share",
    "sure_level",
)  # fmt: skip
"""Numbers of the decoding that are probabilities or shares."""
NORMALISATION: Mapping[str, tuple[Any, ...]] = {
    "kind": ("colours", "channels"),
    "low_percent": (0.5,),
    "high_percent": (99.8,),
    "bright colours": ("brightest",),
}
"""What a header can say of how images become channels, beside their `count`; see `nn.intensity.normalisation`."""
SHA256 = re.compile("[0-9a-f]{64}")
EVIDENCE = {"unet": 16, "mask_rcnn": 4}
"""How much is measured of an object to judge whether it is one, by the kind of network; see `large.object_scores` and
`large.detection_scores`."""
OPINIONS = 2
"""How much a second network says of an object; see `large.second_opinion`."""
LIMITS = {"unet": ("least", "least_of_small", "small_share"), "mask_rcnn": ("lowest",)}
"""Numbers that say which objects are judged, and kept."""


def check_header(header: Mapping[str, Any]) -> None:
    """Raise a `ValueError` that names the first field that is missing or cannot be."""
    if missing := [name for name in FIELDS if name not in header]:
        raise ValueError(f"its header has no `{missing[0]}`")
    for name, (is_right, words) in FIELDS.items():
        if not is_right(header[name]):
            raise ValueError(f"`{name}` in its header must be {words}, not {header[name]!r:.80}")
    check_architecture(header["architecture"])
    kind, scoring = kind_of(header["architecture"]), header.get("scoring")
    if not is_scoring(scoring, kind):
        raise ValueError(f"`scoring` in its header must be numbers by which objects are judged, not {scoring!r:.80}")
    check_second_opinion(header.get("second_opinion"), header, kind)
    if kind == "unet":
        check_heads(header["task"], header["classes"], header["architecture"]["heads"])
    else:
        check_classes(header["task"], header["classes"], header["architecture"]["num_classes"])


def check_heads(task: str, classes: list[str], heads: Mapping[str, int]) -> None:
    """Raise a `ValueError` unless a U-Net has the outputs that its task needs."""
    needed = ("classes", "distance") if task == "objects" else ("classes",)
    if missing := [name for name in needed if name not in heads]:
        raise ValueError(f"a network that finds {task} needs the output `{missing[0]}`, which this one has not")
    if len(classes) < 2:
        raise ValueError("it names no class but the background")
    if task == "classes" and len(classes) != heads["classes"]:
        raise ValueError(f"it names {len(classes)} classes, but its network tells {heads['classes']} apart")


def check_classes(task: str, classes: list[str], count: int) -> None:
    """Raise a `ValueError` unless a Mask R-CNN finds objects, and each of its classes has a name."""
    if task != "objects":
        raise ValueError(f"a Mask R-CNN finds objects, not {task}")
    if len(classes) != count:
        raise ValueError(f"it names {len(classes)} classes, but its network tells {count} apart")


def check_second_opinion(value: Any, header: Mapping[str, Any], kind: str) -> None:
    """Raise a `ValueError` unless this is None, or names another model and judges objects by what both measure.

    Only a Mask R-CNN that knows a size has one, and judges by its own words where the other model is not there.
    """
    if value is not None and (words := _lacking(value, header, kind)):
        raise ValueError(f"`second_opinion` in its header {words}; it is {value!r:.80}")


def _lacking(value: Any, header: Mapping[str, Any], kind: str) -> str:
    """Return what a second opinion lacks; nothing if it is sound."""
    count = EVIDENCE["mask_rcnn"] + OPINIONS
    if kind != "mask_rcnn":
        return "belongs to a Mask R-CNN only"
    if header.get("scoring") is None:
        return "needs `scoring`, by which objects are judged where the other model is not there"
    if header["diameter_px"] is None:
        return "needs `diameter_px`"
    if not isinstance(value, dict):
        return "must be a JSON object"
    if not is_name(value.get("model")):
        return "needs the name of a `model`"
    if not is_sha256(value.get("sha256")):
        return "needs `sha256`, the SHA-256 of the model's file, of 64 digits and small letters"
    if not is_regression(value, count):
        return f"needs `centre`, `spread` and `weights` of a regression on {count} features"
    return ""


def is_text(value: Any) -> bool:
    """Return whether this is text that a terminal can show: no control characters, nothing that UTF-8 cannot write."""
    return isinstance(value, str) and not any(
        unicodedata.category(each) in ("Cc", "Cs") and each not in "\n\t" for each in value
    )


def is_line(value: Any) -> bool:
    """Return whether this is one line of text, and not an empty one."""
    return is_text(value) and bool(value.strip()) and "\n" not in value and len(value) <= 500


def is_name(value: Any) -> bool:
    """Return whether this is one line of text that could be the name of a file, but leads into no other folder."""
    return is_line(value) and not any(each in value for each in "/\\")


def are_lines(value: Any) -> bool:
    """Return whether this is a list of lines of text."""
    return isinstance(value, list) and len(value) > 0 and all(map(is_line, value))


def is_diameter(value: Any) -> bool:
    """Return whether this is a number of pixels, or None for a network that knows no usual size."""
    return value is None or (type(value) in (int, float) and SMALLEST_DIAMETER_PX <= value <= LARGEST_DIAMETER_PX)


def is_decoding(value: Any) -> bool:
    """Return whether this is a JSON object whose values are numbers, each of a size that can be."""
    return (
        isinstance(value, dict)
        and are_all_numbers(list(value.values()), len(value))
        and all(0 <= value.get(name, 0) <= 1 for name in SHARES)
        and 0 <= value.get("smoothing_px", 0) <= LARGEST_SMOOTHING_PX
        and value.get("border_cost", 0) >= 0
    )


def is_normalisation(value: Any) -> bool:
    """Return whether this is how this Tessera makes channels of an image."""
    return (
        isinstance(value, dict)
        and is_count(value.get("count", 1), MOST_CHANNELS)
        and all(name == "count" or said in NORMALISATION.get(name, ()) for name, said in value.items())
    )


def is_sha256(value: Any) -> bool:
    """Return whether this is a SHA-256 in lower case."""
    return isinstance(value, str) and SHA256.fullmatch(value) is not None


def is_scoring(value: Any, kind: str) -> bool:
    """Return whether this judges objects by what is measured of them, or is None for a network that does not."""
    if value is None:
        return True
    return (
        isinstance(value, dict)
        and all(type(value.get(name)) in (int, float) and 0 <= value[name] <= 1 for name in LIMITS[kind])
        and value.get("small_share", 1) > 0
        and is_regression(value, EVIDENCE[kind])
    )


def is_regression(value: Mapping[str, Any], count: int) -> bool:
    """Return whether this holds the numbers of a regression on so many features; see `large.regression`."""
    lengths = {"centre": count, "spread": count, "weights": 1 + count + count * (count + 1) // 2}
    return (
        all(are_all_numbers(value.get(name), length) for name, length in lengths.items())
        and min(value["spread"]) >= SMALLEST_SPREAD
    )


def are_all_numbers(value: Any, length: int) -> bool:
    """Return whether this is a list of so many numbers, none of them beyond all measure."""
    return (
        isinstance(value, list)
        and len(value) == length
        and all(type(each) in (int, float) and abs(each) < LARGEST_NUMBER for each in value)
    )


def is_object(value: Any) -> bool:
    """Return whether this is a JSON object."""
    return isinstance(value, dict)


def is_training(value: Any) -> bool:
    """Return whether this is a JSON object whose steps, if there, are whole numbers and whose settings are one."""
    if not isinstance(value, dict) or not isinstance(settings := value.get("settings") or {}, dict):
        return False
    start = settings.get("start") or {}
    steps = (value.get("steps"), value.get("best_step"), start.get("steps") if isinstance(start, dict) else start)
    return all(each is None or (type(each) is int and each >= 0) for each in steps)


FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "format": (lambda value: type(value) is int and value == FORMAT, str(FORMAT)),
    "name": (is_name, "a line of text without slashes"),
    "title": (is_line, "a line of text"),
    "summary": (is_line, "a line of text"),
    "card": (is_text, "text without control characters"),
    "task": (lambda value: value in TASKS, " or ".join(TASKS)),
    "architecture": (is_object, "a JSON object"),
    "classes": (are_lines, "a list of names"),
    "channels": (are_lines, "a list of names"),
    "normalisation": (is_normalisation, "one that this Tessera knows; a newer one may know it"),
    "diameter_px": (is_diameter, f"null or a number from {SMALLEST_DIAMETER_PX} to {LARGEST_DIAMETER_PX}"),
    "decoding": (is_decoding, f"a JSON object of numbers; {', '.join(SHARES)} from 0 to 1"),
    "training": (is_training, "a JSON object, with whole numbers of steps"),
    "licence": (is_text, "text without control characters"),
    "cite": (is_text, "text without control characters"),
}


HEADER = "tessera"
ENDING = ".safetensors"
TEXTS = frozenset({"name", "title", "summary", "card", "classes", "channels", "licence", "cite"})
"""Fields of the header that are shown."""
CHECKPOINT, LOCK = ".checkpoint", ".lock"
"""What a training leaves beside its model while it lasts is called as the model file, with these at the end."""


def read_header(path: str | Path) -> dict[str, Any]:
    """Read what a model file says of itself; its weights are not read.

    Parameters
    ----------
    path : path
        A `.safetensors` file.

    Returns
    -------
    dict
        format, name, title, summary, card, task, architecture, classes, channels, normalisation, diameter_px, decoding,
        training, licence, cite, and maybe scoring and second_opinion.

    Raises
    ------
    ModelError
        If the file is missing, damaged, foreign, made by a newer Tessera, or its tensors do not fit its header.
    """
    with open_tensors(path) as file:
        return header_of(file, Path(path))


def read_weights(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read tensors and header of a model file.

    Returns
    -------
    arrays : dict of str to array
        As stored, read-only, all finite.
    header : dict
        See `read_header`.

    Raises
    ------
    ModelError
        As `read_header`; also if the weights are not the ones that were written, or are not finite.
    """
    with open_tensors(path) as file:
        header = header_of(file, Path(path))
        arrays = file.read_arrays()
        check_values(arrays)
    return arrays, header


def header_of(file: TensorFile, path: Path) -> dict[str, Any]:
    """Read the header of an open file and check it against the tensors that are there."""
    if HEADER not in file.texts:
        raise ModelError(f"{path} holds tensors of another program. Tessera needs a model that it trained itself.")
    header = parse_json(file.texts[HEADER])
    if not isinstance(header, dict) or "format" not in header:
        raise ModelError(
            f"{path} holds tensors, but no finished model. If it is the checkpoint of a training run, let "
            "`tessera train` finish that run, which then writes the model, or have what was learnt with `tessera "
            "models import`."
        )
    if type(header["format"]) is int and header["format"] > FORMAT:
        raise ModelError(
            f"{path} was made by a newer Tessera (format {header['format']}; this one reads {FORMAT}). Update it: "
            "python -m pip install --upgrade napari-tessera."
        )
    check_header(header)
    check_tensors(file.tensors, header["architecture"])
    return {name: _shown(value) if name in TEXTS else value for name, value in header.items()}


def _shown(value: str | list[str]) -> str | list[str]:
    """Return a text, or each of several, without what turns the direction of the text around it."""
    return visible(value) if isinstance(value, str) else [visible(each) for each in value]


def check_tensors(tensors: Mapping[str, StoredTensor], architecture: Mapping[str, Any]) -> None:
    """Raise a `ValueError` unless there is each tensor of the architecture, in its shape and type, and no other."""
    shapes = tensor_shapes(architecture)
    if missing := [name for name in shapes if name not in tensors]:
        raise ValueError(f"its network needs tensor {missing[0]!r}, which is not there")
    if unknown := [name for name in tensors if name not in shapes]:
        raise ValueError(f"tensor {unknown[0]!r:.80} does not belong to its network")
    for name, each in tensors.items():
        if each.shape != shapes[name]:
            raise ValueError(f"tensor {name!r} has shape {each.shape}, but its network needs {shapes[name]}")
        if each.dtype not in (("<i8",) if name.endswith(COUNTER) else ("<f2", "<f4")):
            raise ValueError(f"tensor {name!r} is of type {each.dtype}, which its network cannot take")


def check_values(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise a `ValueError` if a weight is not finite, or a variance is negative."""
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise ValueError(f"tensor {name!r} holds values that are NaN or infinite")
        if name.endswith(VARIANCE) and (values < 0).any():
            raise ValueError(f"tensor {name!r} holds negative variances")

"""Model files: a network's tensors, and a header that says what it finds. Read without torch; nothing is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_tessera.errors import ModelError
from napari_tessera.escaping import visible
from napari_tessera.io.architecture import COUNTER, VARIANCE, tensor_shapes
from napari_tessera.io.header_fields import FORMAT, check_header
from napari_tessera.io.strict_json import parse_json
from napari_tessera.io.tensor_file import StoredTensor, TensorFile, open_tensors

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

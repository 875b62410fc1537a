"""The same run as code: for Python, and for the command line."""

from __future__ import annotations

import shlex
from typing import Any

from napari_tessera.gui.asking import Question
from napari_tessera.registry import method_named
from napari_tessera.spatial import PIXEL


def as_python(question: Question) -> str:
    """Write the run as Python; arrays are named, not written out."""
    arguments = [f'"{question.method}"', "image", f'axes="{question.axes}"']
    if set(question.spatial.spacing) != {1.0}:
        arguments += [f"spacing={question.spatial.spacing}", f'unit="{question.spatial.unit}"']
    arguments += [f"{name}={name}" for name in question.inputs]
    arguments += [f"{name}={value!r}" for name, value in _changed(question).items()]
    return f"import napari_tessera as tessera\n\nresult = tessera.segment({', '.join(arguments)})\n"


def as_command(question: Question) -> str:
    """Write the run as a command; files are named IMAGE.tif and so on."""
    parts = ["tessera", question.method.replace("_", "-"), "IMAGE.tif", "-o", "OUT.tif", "--axes", question.axes]
    spatial = question.spatial
    if set(spatial.spacing) != {1.0} or spatial.unit != PIXEL:
        parts += ["--spacing", *map(str, spatial.spacing), "--unit", spatial.unit]
    for name in question.inputs:
        parts += [f"--{name.replace('_', '-')}", f"{name.upper()}.tif"]
    for name, value in _changed(question).items():
        parts += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(parts)


def _changed(question: Question) -> dict[str, Any]:
    """Parameters that matter and differ from their default."""
    parameters = method_named(question.method).parameters
    values = question.parameters
    return {
        parameter.name: values[parameter.name]
        for parameter in parameters
        if parameter.matters(values) and values[parameter.name] != parameter.default
    }

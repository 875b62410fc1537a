"""Write `napari_tessera/__init__.pyi` from the registry: python docs/stub.py."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import napari_tessera as tessera
from napari_tessera.core.method import Method
from napari_tessera.core.spec import ARRAYS
from napari_tessera.training.settings import DECLARATION

STUB = Path(tessera.__file__).with_suffix(".pyi")

HEAD = '''"""Types of the public interface, written by `docs/stub.py`."""

from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
'''


OWN = ("segment", "segment_steps", "train", "fine_tune")
"""Functions whose options are written from their signature; mypy reads the others where they are defined."""


def stub() -> str:
    """Return the text of the stub."""
    places = {name: f"napari_tessera.{module}" for name, module in tessera._PUBLIC.items() if name not in OWN}
    imports = [f"from {module} import {name} as {name}" for name, module in places.items()]
    imports += [f"from napari_tessera.core.spec import {', '.join(kind.__name__ for kind in ARRAYS.values())}"]
    imports += ["from napari_tessera.core.method import Method"]
    imports += ["from napari_tessera.training.export import TrainingResult"]
    imports += [f"from napari_tessera import {name} as {name}" for name in tessera._MODULES]
    methods = [method for method in tessera.list_methods() if method.name not in tessera._PUBLIC]
    functions = [_with_options(name) for name in OWN] + [_method(method) for method in methods]
    return "\n".join(
        [
            HEAD,
            *sorted(imports, key=str.lower),
            "",
            *_listed("__all__ = [", sorted(tessera.__all__), "]"),
            "",
            "__version__: str",
            *_listed("_MethodName = Literal[", [method.name for method in tessera.list_methods()], "]"),
            "",
            "def list_methods() -> tuple[Method, ...]: ...",
            *functions,
            "",
        ]
    )


def _listed(start: str, names: Iterable[str], end: str) -> list[str]:
    return [start, *(f'    "{name}",' for name in names), end]


def _with_options(name: str) -> str:
    types = {"image": "ArrayLike", "method": "_MethodName | str"}
    types |= {each.name: _choices(each.choices) for each in DECLARATION.parameters if each.choices}
    return _function(name, inspect.signature(getattr(tessera, name)), types)


def _method(method: Method) -> str:
    types = {entry.name: "ArrayLike" for entry in method.inputs}
    types |= {each.name: _choices(each.choices) for each in method.parameters if each.choices}
    return _function(method.name, inspect.signature(getattr(tessera, method.name)), types)


def _choices(choices: Sequence[Any]) -> str:
    line = f"Literal[{', '.join(map(repr, choices))}]"
    return line if len(line) < 80 else "\n    ".join(_listed("Literal[", choices, "]"))


def _function(name: str, signature: inspect.Signature, types: dict[str, str]) -> str:
    lines, last = [], inspect.Parameter.POSITIONAL_OR_KEYWORD
    for argument in signature.parameters.values():
        if argument.kind is inspect.Parameter.KEYWORD_ONLY and last is not argument.kind:
            lines.append("*")
        lines.append(_argument(argument, types.get(argument.name)))
        if argument.kind is inspect.Parameter.POSITIONAL_ONLY:
            lines.append("/")
        last = argument.kind
    body = "".join(f"    {line},\n" for line in lines)
    return f"def {name}(\n{body}) -> {_typed(signature.return_annotation)}: ..."


def _argument(argument: inspect.Parameter, kind: str | None) -> str:
    kind = kind or _typed(argument.annotation)
    if argument.default is None and "None" not in kind:
        kind += " | None"
    stars = "**" if argument.kind is inspect.Parameter.VAR_KEYWORD else ""
    default = "" if argument.default is inspect.Parameter.empty else f" = {argument.default!r}"
    return f"{stars}{argument.name}: {kind}{default}".replace("'", '"')


def _typed(annotation: Any) -> str:
    text = re.sub(r"[a-z_.]+\.(?=[A-Z])", "", inspect.formatannotation(annotation))
    return text.replace("numpy.ndarray", "np.ndarray")


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")

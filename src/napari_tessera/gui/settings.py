"""Settings remembered between sessions: one small JSON file, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import platformdirs

from napari_tessera.errors import FileError, ParameterError
from napari_tessera.io.together import written_together
from napari_tessera.registry import Method
from napari_tessera.spec import Declaration


def settings_path() -> Path:
    """Return where the settings are kept."""
    return Path(platformdirs.user_config_dir("napari-tessera", appauthor=False)) / "settings.json"


def load(method: Method | Declaration, path: Path | None = None) -> dict[str, Any]:
    """Return the remembered settings of a method; those that no longer fit its declaration are left out.

    A missing or damaged file is the same as an empty one.
    """
    remembered = _read(path or settings_path()).get(method.name)
    known = {parameter.name: parameter for parameter in method.parameters}
    found = {}
    for name, value in remembered.items() if isinstance(remembered, dict) else ():
        try:
            found[name] = known[name].checked(value, method.name)
        except (KeyError, ParameterError):
            continue
    return found


def save(method: Method | Declaration, values: dict[str, Any], path: Path | None = None) -> bool:
    """Remember the settings of a method; say whether they could be written.

    The file is replaced in one step, so that a crash leaves the old one or the new one, never half of one; what
    another window remembers at the same moment is kept.
    """
    path = path or settings_path()
    try:
        with written_together([path], overwrite=True, is_claimed=True) as (part,):
            everything = {**_read(path), method.name: values}
            part.write_text(json.dumps(everything, indent=1), encoding="utf-8")
    except FileError:
        return False
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

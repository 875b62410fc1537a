"""The models there are: those that come with Tessera, and those in the user's own folder.

`ModelEntry` is a model as lists show it: its file and the header of the file.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import platformdirs

from napari_tessera.core.atomic_writes import check_free, written_together
from napari_tessera.core.errors import LONGEST_SHOWN, ModelError, ParameterError, short
from napari_tessera.models.safetensors import ENDING


@dataclass(frozen=True)
class ModelEntry:
    """A model file, as its header describes it.

    Parameters
    ----------
    name : str
        The file's name without ending; methods take it as their `model`.
    path : Path
    is_shipped : bool
        It came with Tessera; otherwise it is the user's own.
    n_bytes : int
    header : mapping
        See `models.header.read_header`; empty if the file cannot be used.
    error : str, optional
        Why the file cannot be used, and what to do.
    network : Network or Detector, optional
        The network itself, ready to run, if it is in memory only and there is no file.
    """

    name: str
    path: Path
    is_shipped: bool
    n_bytes: int
    header: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)
    error: str | None = None
    network: Any = field(default=None, repr=False, compare=False)

    @property
    def title(self) -> str:
        """Name to show; a title that is the name in the file changes with the name of the file."""
        title = str(self.header.get("title", self.name))
        return self.name if title == self.header.get("name") else title

    @property
    def summary(self) -> str:
        """What it finds, in a line."""
        return str(self.header.get("summary", ""))

    @property
    def card(self) -> str:
        """What it was trained on, how well it does and where it fails, as Markdown."""
        return str(self.header.get("card", ""))

    @property
    def task(self) -> str:
        """What it tells apart, "objects" or "classes"."""
        return str(self.header.get("task", ""))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, background first."""
        return tuple(self.header.get("classes", ()))

    @property
    def diameter_px(self) -> float | None:
        """Usual diameter of an object at which the network works; None if it knows no size."""
        return self.header.get("diameter_px")

    @property
    def ndim(self) -> int:
        """2 for planes, 3 for volumes; 0 if the file cannot be used."""
        return int(self.header["architecture"].get("ndim", 2)) if self.header else 0

    @property
    def kind(self) -> str:
        """What kind of network it is, "unet" or "mask_rcnn"; empty if the file cannot be used."""
        return str(self.header["architecture"].get("kind", "unet")) if self.header else ""

    @property
    def licence(self) -> str:
        """Licence of the weights."""
        return str(self.header.get("licence", ""))

    @cached_property
    def second(self) -> ModelEntry | None:
        """The U-Net that rescores its objects, looked up once; None without one. See `second_of`."""
        return second_of(self.header)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out `second`, which another computer has to look up itself."""
        return {name: value for name, value in self.__dict__.items() if name != "second"}

    def sha256(self) -> str:
        """Return the SHA-256 of the file, as a record names the model.

        Raises
        ------
        ModelError
            If the file is gone.
        """
        try:
            state = self.path.stat()
            return _sha256(self.path, state.st_mtime_ns, state.st_size)
        except OSError as error:
            raise ModelError(f"{self.path} cannot be read any more: {error.strerror}.") from error


def entry_of(path: Path, *, is_shipped: bool) -> ModelEntry:
    """Describe a file by its header, or by what is wrong with it."""
    mtime_ns, n_bytes = 0, 0
    with suppress(OSError):
        mtime_ns, n_bytes = path.stat().st_mtime_ns, path.stat().st_size if path.is_file() else 0
    header: Mapping[str, Any] = {}
    reason = None
    try:
        header = _header(path, mtime_ns, n_bytes)
    except ModelError as error:
        reason = str(error)
    return ModelEntry(path.stem, path, is_shipped, n_bytes, header, reason)


@lru_cache
def _header(path: Path, mtime_ns: int, n_bytes: int) -> Mapping[str, Any]:
    """Read the header of a file as it was at one time; what cannot be read is tried again each time."""
    from napari_tessera.models.header import read_header  # pydantic takes a sixth of a second to load

    return read_header(path)


@lru_cache
def _sha256(path: Path, mtime_ns: int, n_bytes: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


FOLDER_VARIABLE = "TESSERA_MODELS"
NAME = re.compile(r"[^\W_]([\w. -]{0,62}[\w.-])?")
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|auto|coco|nothing|.*\.safetensors", re.IGNORECASE)
"""Names that Windows keeps for devices, words that stand for something else on the command line, and file names."""


def list_models() -> tuple[ModelEntry, ...]:
    """List the models: the shipped ones, then the user's own, each by name.

    A file that cannot be used is in the list too, and its `error` says why.

    Examples
    --------
    >>> import napari_tessera as tessera
    >>> [model.name for model in tessera.list_models() if model.is_shipped]
    ['axon-myelin', 'cells', 'click', 'nuclei-3d', 'nuclei-mask-rcnn', 'nuclei-unet']
    """
    shipped = shipped_models()
    return (*shipped, *(_own_entry(path, [entry.name for entry in shipped]) for path in _files(user_folder())))


def shipped_models() -> tuple[ModelEntry, ...]:
    """List the models that come with Tessera, by name."""
    return tuple(entry_of(path, is_shipped=True) for path in _files(shipped_folder()))


def find(name_or_path: str | Path | ModelEntry) -> ModelEntry:
    """Find a model by its name, or by the path of a file anywhere; the header of that file alone is read.

    Parameters
    ----------
    name_or_path : str or path
        What ends in ``.safetensors`` or holds a slash is a path; so is what no model is called, but a file is. A model
        that has been found already is returned as it is.

    Raises
    ------
    ParameterError
        If no model has this name; the message says the nearest ones.
    ModelError
        If the file cannot be used.
    """
    if isinstance(name_or_path, ModelEntry):
        return name_or_path
    entry = _entry_at(Path(name_or_path)) if _is_path(name_or_path) else _entry_named(str(name_or_path), or_file=True)
    if entry.error:
        raise ModelError(entry.error)
    return entry


def second_of(header: Mapping[str, Any]) -> ModelEntry | None:
    """Find the U-Net that the header of a Mask R-CNN names to rescore its objects.

    None if it names none, or the very file is not here, or takes other channels or objects of another size.
    """
    second = header.get("second_opinion")
    entry = second and with_sha256(second["sha256"], second["model"])
    if not entry or entry.kind != "unet" or entry.task != "objects" or entry.ndim != 2:
        return None
    has_scoring = entry.header.get("scoring") and "size" in entry.header["architecture"]["heads"]
    is_alike = entry.header["architecture"]["channels"] == header["architecture"]["channels"]
    return entry if has_scoring and is_alike and entry.diameter_px == header["diameter_px"] else None


def with_sha256(sha256: str, name: str) -> ModelEntry | None:
    """Find the model whose file has this SHA-256, most likely by this name; None if there is none."""
    with suppress(ParameterError, ModelError):
        entry = find(name)
        if entry.sha256() == sha256:
            return entry
    with suppress(ModelError):
        return next((entry for entry in list_models() if not entry.error and entry.sha256() == sha256), None)
    return None


def import_model(path: str | Path, name: str | None = None, *, overwrite: bool = False) -> ModelEntry:
    """Copy a model file into the user's folder, whole or not at all, after loading it, for which torch is loaded, too.

    Parameters
    ----------
    path : path
    name : str, optional
        Name to give it; None takes the one in the file.
    overwrite : bool
        Replace a model of the user's own of this name.

    Returns
    -------
    ModelEntry
        The copy.

    Raises
    ------
    ModelError
        If the file cannot be used, or the name is taken.
    ParameterError
        If the name cannot be a model's name.
    FileError
        If the folder cannot be written to.
    """
    from napari_tessera.models.weights import load_model

    _, header = load_model(path)
    name = checked_name(header["name"] if name is None else name)
    target = user_folder() / (name + ENDING)
    with written_together([target], overwrite=overwrite, is_claimed=True) as (part,):
        _check_name_is_free(name, overwrite=overwrite)
        check_free([target], overwrite=overwrite, inputs=[Path(path)])
        part.write_bytes(Path(path).read_bytes())
        load_model(part)
    return entry_of(target, is_shipped=False)


def _check_name_is_free(name: str, *, overwrite: bool) -> None:
    """Refuse the name of a model that comes with Tessera, and of one of the user's own that may not be replaced."""
    for entry in list_models():
        if entry.name.casefold() != name.casefold():
            continue
        if entry.is_shipped:
            raise ModelError(f"{name!r} is the name of a model that comes with Tessera. Give yours another name.")
        if not overwrite:
            raise ModelError(
                f"There is a model {name!r} already. Give another name, or allow it to be replaced (overwrite=True, "
                "or --overwrite on the command line)."
            )


def rename_model(name: str, new_name: str) -> ModelEntry:
    """Give a model of the user's own another name; the file stays the same, so that records still find it.

    Raises
    ------
    ParameterError
        If there is no model of this name, it comes with Tessera, or the new name cannot be a model's name.
    ModelError
        If the new name is taken, or the file cannot be renamed.
    """
    entry, new_name = _own_named(name), checked_name(new_name.strip())
    _check_name_is_free(new_name, overwrite=False)
    try:
        path = entry.path.rename(entry.path.with_name(new_name + ENDING))
    except OSError as error:
        raise ModelError(f"{entry.path} cannot be renamed: {error.strerror}.") from error
    return entry_of(path, is_shipped=False)


def remove_model(name: str) -> Path:
    """Delete a model of the user's own, and return where it was.

    Raises
    ------
    ParameterError
        If there is no model of this name, or it comes with Tessera.
    ModelError
        If the file cannot be deleted.
    """
    entry = _own_named(name)
    try:
        entry.path.unlink()
    except OSError as error:
        raise ModelError(f"{entry.path} cannot be deleted: {error.strerror}.") from error
    return entry.path


def _own_named(name: str) -> ModelEntry:
    entry = _entry_named(name)
    if entry.is_shipped:
        raise ParameterError(
            f"{name!r} comes with Tessera and cannot be removed or renamed; only your own can.", "name"
        )
    return entry


def shipped_folder() -> Path:
    """Return the folder of the models that come with Tessera."""
    return Path(__file__).parent / "shipped"


def user_folder() -> Path:
    """Return the folder of the user's own models, which need not exist; TESSERA_MODELS can name another."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return (
        Path(chosen).expanduser()
        if chosen
        else platformdirs.user_data_path("napari-tessera", appauthor=False) / "models"
    )


def _files(folder: Path) -> list[Path]:
    try:
        if not folder.exists():
            return []
        return sorted(path for path in folder.iterdir() if path.suffix == ENDING and not path.name.startswith("."))
    except OSError as error:
        raise ModelError(
            f"The folder of models {folder} cannot be read: {error.strerror}. Make it readable, or let "
            f"{FOLDER_VARIABLE} name another."
        ) from error


def _own_entry(path: Path, shipped: Iterable[str]) -> ModelEntry:
    """Describe a model of the user's own, which may not have the name of a shipped one."""
    entry = entry_of(path, is_shipped=False)
    if entry.name.casefold() not in {name.casefold() for name in shipped}:
        return entry
    reason = f"{path} has the name of a model that comes with Tessera. Rename the file."
    return ModelEntry(entry.name, path, False, entry.n_bytes, error=reason)


def _is_path(name_or_path: str | Path) -> bool:
    text = str(name_or_path)
    return isinstance(name_or_path, Path) or text.endswith(ENDING) or "/" in text or os.sep in text


def _entry_at(path: Path) -> ModelEntry:
    return entry_of(path, is_shipped=os.path.realpath(path.parent) == os.path.realpath(shipped_folder()))


def _entry_named(name: str, *, or_file: bool = False) -> ModelEntry:
    # The shipped ones first: they are there even if the user's own folder cannot be read.
    shipped = _files(shipped_folder())
    if path := _named(name, shipped):
        return entry_of(path, is_shipped=True)
    own = _files(user_folder())
    if path := _named(name, own):
        return _own_entry(path, [each.stem for each in shipped])
    if or_file and os.path.isfile(name):
        return _entry_at(Path(name))
    names = [each.stem for each in (*shipped, *own)]
    near = difflib.get_close_matches(name[:LONGEST_SHOWN], names, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(names) or 'none'}."
    raise ParameterError(f"There is no model {short(name)}. {hint} A file is named by its path.", "model")


def _named(name: str, paths: Iterable[Path]) -> Path | None:
    wanted = unicodedata.normalize("NFC", name)
    return next((path for path in paths if unicodedata.normalize("NFC", path.stem) == wanted), None)


def checked_name(name: str) -> str:
    """Return a model's name in its one way to be written; a `ParameterError` if it cannot be one."""
    name = unicodedata.normalize("NFC", name)
    if not NAME.fullmatch(name) or RESERVED.fullmatch(name):
        raise ParameterError(
            f"{name!r} cannot be the name of a model. Use up to 64 letters, digits, spaces, dots, hyphens and "
            "underscores, with a letter or digit first and no space last, without the ending .safetensors, and not the "
            "words auto, coco and nothing.",
            "name",
        )
    return name

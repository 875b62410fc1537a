"""Tensors and a JSON header in one `.safetensors` file, written whole or not at all; nothing is ever unpickled."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from napari_tessera.core.atomic_writes import write_whole
from napari_tessera.core.errors import ModelError
from napari_tessera.core.file_checks import parse_json
from napari_tessera.core.result import without_nan
from napari_tessera.models.header import FORMAT, HEADER, TITLES, check_header, header_of, kind_of
from napari_tessera.models.mask_rcnn.config import MaskRCNNArchitecture
from napari_tessera.models.mask_rcnn.model import MaskRCNN
from napari_tessera.models.safetensors import LENGTH_BYTES, LONGEST_HEADER, open_tensors, pieces_of_file
from napari_tessera.models.unet import ClickArchitecture, UNet, UNetArchitecture


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a header of plain JSON; a reader gets the old file or the whole new one, never a part.

    Raises
    ------
    ModelError
        If the header is longer than a reader accepts.
    FileError
        If the file cannot be written, as without its folder.
    """
    arrays = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}
    start, *pieces = pieces_of_file(arrays, {HEADER: json.dumps(header, allow_nan=False)})
    if len(start) > LENGTH_BYTES + LONGEST_HEADER:
        raise ModelError(f"{path} was not written: its header would be longer than {LONGEST_HEADER} bytes.")
    write_whole(Path(path), start, *pieces)


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote: the tensors and the header; a `ModelError` for any other file."""
    with open_tensors(path) as file:
        header = parse_json(file.texts.get(HEADER, "{}"))
        arrays = file.read_arrays()
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}, header


Network = UNet | MaskRCNN
ARCHITECTURES: Mapping[str, type[UNetArchitecture | MaskRCNNArchitecture]] = {
    each.kind: each for each in (UNetArchitecture, ClickArchitecture, MaskRCNNArchitecture)
}
"""Architectures by the kind of network."""
AnyNetwork = TypeVar("AnyNetwork", UNet, MaskRCNN)
MOST_WEIGHTS = 500_000_000
COUNTER, VARIANCE = "num_batches_tracked", "running_var"
"""How the names of a batch normalisation's tensors end."""
LARGEST_ERROR = 0.01
"""Error in half precision, as a share of a variance, up to which it is stored so: features are divided by its root."""


def save_model(path: str | Path, net: Network, header: Mapping[str, Any]) -> None:
    """Save a network in half precision, with its architecture in the header.

    `header` has the fields that `models.header.read_header` returns; those left out are filled in as unknown, and
    numbers that are NaN or infinite become null.

    Raises
    ------
    ModelError
        If the header or a weight is such that the file could not be loaded again.
    FileError
        If the file cannot be written, as without its folder.
    """
    state, full = stored_state(net, header, path)
    write_tensors(path, state, full)


def stored_state(net: Network, header: Mapping[str, Any], path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what a model file holds of a network: its weights in half precision, and the header; see `save_model`."""
    full = without_nan(completed(header, net, Path(path).stem))
    try:
        check_header(full)
        check_size(net)
    except ValueError as error:
        raise ModelError(f"{path} was not written: {error}.") from error
    if diverged := [name for name, each in net.state_dict().items() if not torch.isfinite(each).all()]:
        raise ModelError(f"{path} was not written: {diverged[0]!r} holds NaN or infinity. Train with a lower rate.")
    return {name: halved(each, name) for name, each in net.state_dict().items()}, full


def as_stored(net: Network, header: Mapping[str, Any], path: str | Path) -> tuple[Network, dict[str, Any]]:
    """Return a network and a header as they would be read from a model file, in eval mode; nothing is written."""
    state, full = stored_state(net, header, path)
    copied = copy.deepcopy(net).requires_grad_(False)
    copied.load_state_dict(state)
    return copied.eval(), json.loads(json.dumps(full))


def completed(header: Mapping[str, Any], net: Network, name: str) -> dict[str, Any]:
    """Add to a header what it leaves out."""
    is_for_objects, n_classes = _task_of(net)
    unknown: dict[str, Any] = {
        "name": name, "title": name, "summary": "A network that nobody has described yet.", "card": "",
        "task": "objects" if is_for_objects else "classes",
        "classes": ["background", *(f"class {number}" for number in range(1, n_classes))],
        "channels": [f"channel {number + 1}" for number in range(net.architecture.channels)],
        "normalisation": {}, "diameter_px": None, "decoding": {}, "training": {}, "licence": "", "cite": "",
    }  # fmt: skip
    return {**unknown, **header, "format": FORMAT, "architecture": net.architecture.as_json()}


def _task_of(net: Network) -> tuple[bool, int]:
    """Return whether a network finds objects, and its number of classes, background included."""
    if isinstance(net, MaskRCNN):
        return True, net.architecture.num_classes
    heads = net.architecture.heads
    if net.architecture.kind == "click":
        return True, heads.get("classes", 2)
    return ("distance" in heads), (2 if "distance" in heads else heads.get("classes", 2))


def halved(tensor: Tensor, name: str = "") -> Tensor:
    """Return numbers in half precision, but for those too large for it, and variances too small."""
    half = tensor.half() if tensor.is_floating_point() else tensor
    is_kept = torch.isfinite(half)
    if name.endswith(VARIANCE):
        is_kept &= (half.to(tensor.dtype) - tensor).abs() <= LARGEST_ERROR * tensor
    return half if is_kept.all() else tensor


def load_model(path: str | Path) -> tuple[Network, dict[str, Any]]:
    """Load a network of any kind in eval mode and full precision, and its header.

    Raises
    ------
    ModelError
        If the file is missing, damaged, foreign, newer, or holds weights that are not finite.
    """
    with open_tensors(path) as file:
        header = header_of(file, Path(path))
        net = empty_network(header["architecture"])
        check_tensors(file.table, net)
        arrays = file.read_arrays()
        check_values(arrays)
    weights = {
        name: torch.from_numpy(array.astype("f4" if array.dtype.kind == "f" else "i8"))
        for name, array in arrays.items()
    }
    net.load_state_dict(weights, assign=True)
    return net.eval(), header


class _WithoutNormal(TorchFunctionMode):
    """Draw no normal numbers: on the meta device that would load half of torch, for nothing."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func in (Tensor.normal_, nn.init.normal_):
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def empty_network(architecture: Mapping[str, Any]) -> Network:
    """Build a network whose tensors have names, shapes and types, but no values, and take no memory.

    The `architecture` has passed `check_architecture`; a `ValueError` means that it has more weights than are allowed.

    Examples
    --------
    >>> net = empty_network({"kind": "unet", "channels": 1, "heads": {"classes": 3}, "widths": [4, 8], "ndim": 2})
    >>> net.heads["classes"].weight.shape
    torch.Size([3, 4, 1, 1])
    """
    with torch.device("meta"), _WithoutNormal():
        net = built(ARCHITECTURES[kind_of(architecture)].from_json(architecture))
    check_size(net)
    return net


def built(architecture: UNetArchitecture | MaskRCNNArchitecture) -> Network:
    """Build a network, with random weights."""
    return UNet(architecture) if isinstance(architecture, UNetArchitecture) else MaskRCNN(architecture)


def check_size(net: nn.Module) -> None:
    """Raise a `ValueError` if a network has more weights than are allowed."""
    n_weights = sum(each.numel() for each in net.state_dict().values())
    if n_weights > MOST_WEIGHTS:
        raise ValueError(f"the network would have {n_weights:,} weights, but at most {MOST_WEIGHTS:,} are allowed")


def check_tensors(table: Mapping[str, Any], net: nn.Module) -> None:
    """Raise a `ValueError` unless a file has each tensor of a network, in its shape and type, and no other."""
    needed = net.state_dict()
    if missing := [name for name in needed if name not in table]:
        raise ValueError(f"its network needs tensor {missing[0]!r}, which is not there")
    if unknown := [name for name in table if name not in needed]:
        raise ValueError(f"tensor {unknown[0]!r:.80} does not belong to its network")
    for name, tensor in needed.items():
        shape, dtype = table[name].get("shape"), table[name].get("dtype")
        if shape != list(tensor.shape):
            raise ValueError(f"tensor {name!r} has shape {shape!r:.80}, but its network needs {tuple(tensor.shape)}")
        if dtype not in (["I64"] if name.endswith(COUNTER) else ["F16", "F32"]):
            raise ValueError(f"tensor {name!r} is of type {dtype!r:.80}, which its network cannot take")


def check_values(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise a `ValueError` if a weight is not finite, or a variance is negative."""
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise ValueError(f"tensor {name!r} holds values that are NaN or infinite")
        if name.endswith(VARIANCE) and (values < 0).any():
            raise ValueError(f"tensor {name!r} holds negative variances")


def load_unet(path: str | Path, kind: str = "unet") -> tuple[UNet, dict[str, Any]]:
    """Load a U-Net, or a click network, as `load_model` does; a network of another kind is a `ModelError`, too."""
    return _load_kind(path, UNet, kind)


def load_mask_rcnn(path: str | Path) -> tuple[MaskRCNN, dict[str, Any]]:
    """Load a Mask R-CNN as `load_model` does; a network of another kind is a `ModelError`, too."""
    return _load_kind(path, MaskRCNN, "mask_rcnn")


def _load_kind(path: str | Path, network: type[AnyNetwork], kind: str) -> tuple[AnyNetwork, dict[str, Any]]:
    net, header = load_model(path)
    if not isinstance(net, network) or net.architecture.kind != kind:
        held, needed = TITLES[net.architecture.kind], TITLES[kind]
        raise ModelError(f"{path} holds a {held}, but a {needed} is needed.")
    return net, header


def tensors_of(net: nn.Module) -> dict[str, Tensor]:
    """Copy all parameters and running statistics."""
    return {name: each.detach().clone() for name, each in net.state_dict().items()}

"""Tensors and a JSON header in one `.safetensors` file, written whole or not at all; nothing is ever unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from napari_tessera.errors import ModelError
from napari_tessera.io.model_file import FORMAT, HEADER, check_header, read_weights
from napari_tessera.io.strict_json import without_nan
from napari_tessera.io.tensor_file import DIGEST, LENGTH_BYTES, LONGEST_HEADER, digest_of, open_tensors
from napari_tessera.io.together import write_whole
from napari_tessera.nn.unet import Architecture, UNet


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a header; a reader sees the old file or the whole new one, never a part.

    Parameters
    ----------
    path : path
        Its folder must exist.
    tensors : mapping of str to Tensor
    header : mapping
        Plain JSON.

    Raises
    ------
    ModelError
        If the header is longer than a reader accepts.
    FileError
        If the file cannot be written.
    """
    together = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    texts = {HEADER: json.dumps(header)}
    plain = save(together, texts)
    length = int.from_bytes(plain[:LENGTH_BYTES], "little")
    whole = save(together, texts | {DIGEST: digest_of(texts, plain[LENGTH_BYTES + length :])})
    if int.from_bytes(whole[:LENGTH_BYTES], "little") > LONGEST_HEADER:
        raise ModelError(f"{path} was not written: its header would be longer than {LONGEST_HEADER} bytes.")
    write_whole(Path(path), whole)


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote: the tensors and the header.

    Raises
    ------
    ModelError
        If the file is missing, damaged or of another kind.
    """
    with open_tensors(path) as file:
        header = json.loads(file.texts.get(HEADER, "{}"))
        arrays = file.read_arrays()
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}, header


def save_unet(path: str | Path, net: UNet, header: Mapping[str, Any]) -> None:
    """Save a U-Net in half precision, with its architecture in the header.

    Parameters
    ----------
    path : path
        Its folder must exist.
    net : UNet
    header : mapping
        What to say of it, as `io.model_file.read_header` returns it; what is left out says that nothing is known, and
        numbers that are NaN or infinite become null.

    Raises
    ------
    ModelError
        If the header or a weight is such that the file could not be loaded again.
    FileError
        If the file cannot be written.
    """
    full = without_nan(completed(header, net, Path(path).stem))
    try:
        check_header(full)
    except ValueError as error:
        raise ModelError(f"{path} was not written: {error}.") from error
    if diverged := [name for name, each in net.state_dict().items() if not torch.isfinite(each).all()]:
        raise ModelError(f"{path} was not written: {diverged[0]!r} holds NaN or infinity. Train with a lower rate.")
    write_tensors(path, {name: halved(each) for name, each in net.state_dict().items()}, full)


def completed(header: Mapping[str, Any], net: UNet, name: str) -> dict[str, Any]:
    """Add to a header what it leaves out."""
    architecture = net.architecture
    is_for_objects = "distance" in architecture.heads
    n_classes = 2 if is_for_objects else architecture.heads.get("classes", 2)
    unknown: dict[str, Any] = {
        "name": name, "title": name, "summary": "A network that nobody has described yet.", "card": "",
        "task": "objects" if is_for_objects else "classes",
        "classes": ["background", *(f"class {number}" for number in range(1, n_classes))],
        "channels": [f"channel {number + 1}" for number in range(architecture.channels)],
        "normalisation": {}, "diameter_px": None, "decoding": {}, "training": {}, "licence": "", "cite": "",
    }  # fmt: skip
    return {**unknown, **header, "format": FORMAT, "architecture": {"kind": "unet", **architecture.as_json()}}


def halved(tensor: Tensor) -> Tensor:
    """Return numbers in half precision, but for those too large for it."""
    half = tensor.half() if tensor.is_floating_point() else tensor
    return half if torch.isfinite(half).all() else tensor


def load_unet(path: str | Path) -> tuple[UNet, dict[str, Any]]:
    """Load a U-Net in eval mode and full precision, and its header.

    Raises
    ------
    ModelError
        If the file is missing, damaged, foreign, newer, or holds weights that are not finite.
    """
    arrays, header = read_weights(path)
    net = UNet(Architecture.from_json(header["architecture"]))
    net.load_state_dict(
        {
            name: torch.from_numpy(array.astype("f4" if array.dtype.kind == "f" else "i8"))
            for name, array in arrays.items()
        }
    )
    return net.eval(), header


def tensors_of(net: nn.Module) -> dict[str, Tensor]:
    """Copy all parameters and running statistics."""
    return {name: each.detach().clone() for name, each in net.state_dict().items()}

"""Tensors and a JSON header in one `.safetensors` file, written whole or not at all; nothing is ever unpickled."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from napari_tessera.nn.unet import Architecture, UNet

HEADER = "tessera"


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a header; a reader sees the old file or the whole new one, never a part.

    Parameters
    ----------
    path : path
        Its folder must exist.
    tensors : mapping of str to Tensor
    header : mapping
        Plain JSON.
    """
    path = Path(path)
    whole = save({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, {HEADER: json.dumps(header)})
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(whole)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote: the tensors and the header."""
    with safe_open(str(path), framework="pt") as file:
        names = list(file.keys())
        tensors = {name: file.get_tensor(name) for name in names}
        header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
    return tensors, header


def save_unet(path: str | Path, net: UNet, header: Mapping[str, Any]) -> None:
    """Save a U-Net in half precision, with its architecture in the header."""
    halves = {name: each.half() if each.is_floating_point() else each for name, each in net.state_dict().items()}
    write_tensors(path, halves, {"architecture": net.architecture.as_json(), **header})


def load_unet(path: str | Path) -> tuple[UNet, dict[str, Any]]:
    """Load a U-Net in eval mode and full precision, and its header."""
    tensors, header = read_tensors(path)
    net = UNet(Architecture(**header["architecture"]))
    net.load_state_dict({name: each.float() if each.is_floating_point() else each for name, each in tensors.items()})
    return net.eval(), header


def tensors_of(net: nn.Module) -> dict[str, Tensor]:
    """Copy all parameters and running statistics."""
    return {name: each.detach().clone() for name, each in net.state_dict().items()}

"""Small model files, sound and not, byte by byte."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_tessera.core.errors import ModelError
from napari_tessera.models.unet import UNet, UNetArchitecture
from napari_tessera.models.weights import load_model, save_model

HEADS = {"classes": 3, "distance": 1}
FEW_WIDTHS = (2, 3)


def small_net(ndim=2):
    torch.manual_seed(0)
    return UNet(UNetArchitecture(2, HEADS, FEW_WIDTHS, ndim)).eval()


@cache
def sound_model():
    """Return the bytes of a sound model file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.safetensors"
        save_model(path, small_net(), {"title": "Small", "summary": "Finds small things.", "card": "Für **alle**."})
        return path.read_bytes()


def parts(content):
    """Split a file into its header, as a dict, and the bytes of its tensors."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header, weights=b""):
    """Make a file of a header (a dict, or text as it is) and the bytes of its tensors."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + weights


def with_fields(content, **changes):
    """Change fields of the model's header; an ellipsis takes a field away. The checksum goes."""
    header, weights = parts(content)
    fields = json.loads(header["__metadata__"]["tessera"]) | changes
    kept = {name: value for name, value in fields.items() if value is not Ellipsis}
    header["__metadata__"] = {"tessera": json.dumps(kept)}
    return joined(header, weights)


def rewritten(sound, change):
    """Change the stored arrays of a file, and lay them out anew without a checksum."""
    header, weights = parts(sound)
    texts = {"tessera": header.pop("__metadata__")["tessera"]}
    dtypes = {"F16": "<f2", "I64": "<i8"}
    arrays = {
        name: np.frombuffer(weights[slice(*each["data_offsets"])], dtypes[each["dtype"]]).reshape(each["shape"]).copy()
        for name, each in header.items()
    }
    change(arrays)
    table, content = {}, b""
    for name, array in arrays.items():
        place = [len(content), len(content) + array.nbytes]
        code = {"f": "F", "i": "I"}[array.dtype.kind] + str(8 * array.itemsize)
        table[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": place}
        content += array.tobytes()
    return joined({"__metadata__": texts, **table}, content)


def complaint(path, content):
    """Return what is said of a file with this content."""
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    return str(caught.value)

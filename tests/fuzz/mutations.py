"""Damage to files: of bytes, and of what the format says of itself."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import struct
from pathlib import Path
from random import Random
from typing import Any

SOUND, CUT, DAMAGED = "sound", "cut", "damaged"
MAGIC = (0, 1, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
JUNK = (
    b"\0",
    b'"',
    b"\xff\xfe",
    b"nan",
    b"1e999",
    b",",
    b"=1+1",
    b"\x1b[31m",
    b"\xe2\x80\xae",
    b"<",
    b"-",
    b"a" * 140_000,
)
DEEP = "nested deeply"
VALUES: tuple[Any, ...] = (
    None, True, 0, 1, -1, 2.5, 2**31, 2**63, 2**64, 10**400, 1e308, 1e-320, float("inf"), float("nan"), "", "x", "YX",
    "µm", "\x1b[31m", "a\u202eb", "=1+1", "../../x", "/dev/zero", "a\nb", "ü" * 300, "\0", "\ud800", DEEP, [], {}, [[]],
    [0, 0], [1e300, 1e300], [2**40, 2**40], {"": None},
)  # fmt: skip
JSON_NAMES = (".json", ".zarray", ".zattrs", ".zgroup")
TENSOR_NAMES = (".safetensors", ".checkpoint")


def damage(folder: Path, rng: Random) -> str:
    """Damage one of the files in a folder, or none of them; return SOUND, CUT or DAMAGED."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    draw, path = rng.random(), rng.choice(files)
    if draw < 0.05:
        return SOUND
    if draw < 0.08:
        _replace_by_what_is_no_file(path, rng)
        return DAMAGED if ".zarr" in str(path) else CUT  # of a Zarr a chunk may be missing
    content = path.read_bytes()
    if draw < 0.2 and len(content) > 1:
        path.write_bytes(content[: rng.randrange(len(content))])
        return CUT
    path.write_bytes(_damaged(path.name, content, rng))
    return DAMAGED


def _replace_by_what_is_no_file(path: Path, rng: Random) -> None:
    path.unlink()
    kind = rng.choice(("missing", "empty", "folder", "pipe", "itself", "endless", "lost"))
    if kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe" and hasattr(os, "mkfifo"):
        os.mkfifo(path)
    elif kind in ("itself", "endless", "lost"):
        path.symlink_to({"itself": path.name, "endless": "/dev/zero", "lost": "lost"}[kind])


def _damaged(name: str, content: bytes, rng: Random) -> bytes:
    if name.endswith(TENSOR_NAMES) and rng.random() < 0.6:
        return damaged_tensors(content, rng)
    if name.endswith(JSON_NAMES) and rng.random() < 0.8:
        return damaged_json(content, rng)
    if content[:4] == b"II*\0" and rng.random() < 0.5:
        return damaged_tag(content, rng)
    return damaged_bytes(content, rng)


def damaged_bytes(content: bytes, rng: Random) -> bytes:
    """Flip, drop, repeat, move or replace a few bytes; metadata lie at the ends of a file, so these are hit most."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        size, near = rng.choice((1, 2, 4, 8, 64)), rng.choice((16, 64, 400, len(data)))
        at = rng.randrange(max(1, min(near, len(data))))
        at = max(0, len(data) - 1 - at) if rng.random() < 0.3 else at
        kind = rng.choice(("flip", "magic", "magic", "number", "number", "drop", "repeat", "insert", "splice"))
        if kind == "flip" and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == "magic":
            width = rng.choice((1, 2, 4, 8))
            data[at : at + width] = (rng.choice(MAGIC) % 256**width).to_bytes(width, rng.choice(("little", "big")))
        elif kind == "number":
            _change_number(data, rng)
        elif kind == "drop":
            del data[at : at + size]
        elif kind == "repeat":
            data[at:at] = data[at : at + size] * rng.choice((1, 2, 1000))
        elif kind == "insert":
            data[at:at] = rng.choice(JUNK)
        elif kind == "splice":
            start = rng.randrange(max(1, len(data)))
            data[at : at + size] = data[start : start + size]
    return bytes(data)


def _change_number(data: bytearray, rng: Random) -> None:
    """Replace a number in text by another of the same length."""
    found = [match.span() for match in re.finditer(rb"\d+", data[:4000])]
    if found:
        start, stop = rng.choice(found)
        data[start:stop] = "".join(rng.choice(("0", "9", "1", "-", ".", "e")) for _ in range(stop - start)).encode()


def damaged_tag(content: bytes, rng: Random) -> bytes:
    """Change a field of one tag of a little-endian TIFF, or let a directory be followed by any place in the file."""
    data, (at,) = bytearray(content), struct.unpack_from("<I", content, 4)
    places = []
    while at and at + 2 <= len(data) and len(places) < 100:
        (count,) = struct.unpack_from("<H", data, at)
        tags = [at + 2 + 12 * number for number in range(count)]
        if tags[-1] + 16 > len(data):
            break
        places.append((at, tags, tags[-1] + 12))
        (at,) = struct.unpack_from("<I", data, tags[-1] + 12)
    if not places:
        return damaged_bytes(content, rng)
    start, tags, following = rng.choice(places)
    if rng.random() < 0.1:
        target = rng.choice([start, places[0][0], rng.randrange(len(data))])
        data[following : following + 4] = struct.pack("<I", target)
        return bytes(data)
    offset, width = rng.choice(((2, 2), (4, 4), (8, 4), (8, 4)))
    small = rng.choice((0, 1, 2, 3, 4, 5, 7, 8, 12, 16, 32, 64))
    value = rng.choice((small, small, rng.choice(MAGIC), rng.randrange(len(data)))) % 256**width
    place = rng.choice(tags) + offset
    data[place : place + width] = value.to_bytes(width, "little")
    return bytes(data)


def damaged_json(content: bytes, rng: Random) -> bytes:
    """Change one to three values of a JSON text to what they should not be."""
    try:
        value = json.loads(content)
    except ValueError:
        return damaged_bytes(content, rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = changed_value(value, rng)
    text = json.dumps(value).replace(f'"{DEEP}"', "[" * 50_000 + "]" * 50_000)
    return text.encode()


def changed_value(value: Any, rng: Random) -> Any:
    """Return a copy of plain JSON in which one value is replaced, removed, wrapped, or swapped with another."""
    value = copy.deepcopy(value)
    nodes = list(_nodes(value))
    if not nodes:
        return rng.choice(VALUES)
    holder, key = rng.choice(nodes)
    kind = rng.choice(("replace", "replace", "replace", "remove", "wrap", "swap", "rename", "repeat"))
    if kind == "remove":
        del holder[key]
    elif kind == "wrap":
        holder[key] = rng.choice(([holder[key]], {"a": holder[key]}))
    elif kind == "swap":
        other, place = rng.choice(nodes)
        holder[key] = copy.deepcopy(other[place])
    elif kind == "rename" and isinstance(holder, dict):
        holder[rng.choice(("x", "", "path", "=1+1"))] = holder.pop(key)
    elif kind == "repeat" and isinstance(holder, list):
        holder[key:key] = [holder[key]] * rng.choice((1, 9, 1000))
    else:
        holder[key] = rng.choice(VALUES)
    return value


def _nodes(value: Any) -> Any:
    """Yield each place in plain JSON as its holder and its key."""
    places = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, inner in places:
        yield value, key
        yield from _nodes(inner)


def damaged_tensors(content: bytes, rng: Random) -> bytes:
    """Change the header of a `.safetensors` file, or what it says of the model; its length stays right."""
    length = int.from_bytes(content[:8], "little")
    header, weights = json.loads(content[8 : 8 + length]), content[8 + length :]
    texts = header["__metadata__"]
    if rng.random() < 0.7:
        texts.pop("sha256", None)
        texts["tessera"] = damaged_json(texts["tessera"].encode(), rng).decode()
    else:
        header = changed_value(header, rng)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + weights


def copied(source: Path, target: Path) -> Path:
    """Copy the files of a seed to the folder of a case."""
    return Path(shutil.copytree(source, target, dirs_exist_ok=True))

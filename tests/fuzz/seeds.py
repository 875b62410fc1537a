"""Sound files of every format, small enough that much of each is metadata; and the pixels that are in them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
import zarr
from numcodecs import LZ4
from PIL import Image
from tifffile import imwrite
from zarr.codecs import BloscCodec, GzipCodec

from napari_tessera.core.labels import Segments
from napari_tessera.core.spatial import Spatial
from napari_tessera.io.annotation_store import PaintCopy
from napari_tessera.io.coco_panoptic import write_coco_panoptic
from napari_tessera.io.ome_zarr import write_ome_zarr
from tests.helpers.scenes import blobs, main_input, needed_inputs, two_boxes

FOLDER_VARIABLE = "TESSERA_FUZZ_SEEDS"
GREY, STACK, LABELS = blobs(2), blobs(3, np.uint16), two_boxes(2)
COLOUR = np.stack([GREY, GREY // 2, 255 - GREY], axis=-1)
DEEP, PALETTE = COLOUR.astype(np.uint16) * 257, np.random.default_rng(0).integers(0, 256, (3, 256), np.uint8)
CHUNKS = {"chunks": (3, 10, 12)}


def made(name: str, write: Callable[[Path], Any]) -> Path:
    """Return the folder with the sound files of a name, which all processes share; they are written once."""
    folder = Path(os.environ[FOLDER_VARIABLE]) / name
    if not folder.exists():
        new = Path(tempfile.mkdtemp(dir=folder.parent))
        write(new)
        with suppress(OSError):  # another process was faster
            new.rename(folder)
    return folder


def _pages(folder: Path) -> None:
    with tifffile.TiffWriter(folder / "a.tif") as file:
        for plane in STACK:
            file.write(plane, metadata=None, contiguous=False)


def _two_files(folder: Path) -> None:
    """Write an OME-TIFF whose planes lie in two files, as microscopes do."""
    names = ("a.ome.tif", "b.ome.tif")
    planes = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{z}</UUID></TiffData>'
        for z, name in enumerate(names)
    )
    for z, name in enumerate(names):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{z}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
            f'SizeX="24" SizeY="20" SizeZ="2" SizeC="1" SizeT="1" PhysicalSizeX="0.25">{planes}</Pixels></Image></OME>'
        )
        imwrite(folder / name, STACK[z + 1], description=xml, metadata=None)


def _lsm(folder: Path) -> None:
    """Write what a Zeiss microscope does: its own tag, and a small picture behind each plane."""
    said = np.zeros(1, tifffile.TIFF.CZ_LSMINFO)
    facts = {"MagicNumber": 67127628, "DimensionX": 24, "DimensionY": 20, "DimensionZ": 6, "DimensionChannels": 1}
    facts |= {"StructureSize": said.itemsize, "DimensionTime": 1, "DataType": 2, "VoxelSizeX": 2e-7, "VoxelSizeY": 2e-7}
    for field, value in facts.items():
        said[field] = value
    with tifffile.TiffWriter(folder / "a.lsm") as file:
        for z, plane in enumerate(STACK):
            tags = [(34412, "B", said.nbytes, said.tobytes(), True)] if z == 0 else []
            file.write(plane, metadata=None, contiguous=False, extratags=tags)
            file.write(GREY[:4, :4], metadata=None, contiguous=False, subfiletype=1)


def _zarr(folder: Path, version: int, **options: Any) -> None:
    array = zarr.create_array(
        folder / "a.zarr", shape=STACK.shape, dtype=STACK.dtype, zarr_format=version, **CHUNKS, **options
    )
    array[:] = STACK


def _ome_zarr_05(folder: Path) -> None:
    group = zarr.open_group(folder / "a.ome.zarr", mode="w", zarr_format=3)
    group.create_array("0", shape=STACK.shape, dtype=STACK.dtype, **CHUNKS)[:] = STACK
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    steps = [{"type": "scale", "scale": [0.5, 0.2, 0.2]}, {"type": "translation", "translation": [0, 1, 2]}]
    level = {"path": "0", "coordinateTransformations": steps}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}


def _beside(folder: Path) -> None:
    """Write a PNG whose pixel size is in the record beside it."""
    Image.fromarray(GREY).save(folder / "a.png")
    spatial = Spatial.with_spacing("YX", (0.2, 0.25), "micrometer").to_json()
    record = {"tessera": 1, "method": "threshold", "parameters": {}, "axes": "YX", "inputs": {}}
    outputs = [{"file": "a.png", "name": "a", "kind": "objects", "spatial": spatial}]
    (folder / "a.json").write_text(json.dumps({**record, "outputs": outputs}))


def _as_picture(ending: str, data: np.ndarray, mode: str | None = None) -> Callable[[Path], None]:
    return lambda at: Image.fromarray(data).convert(mode).save(at / f"a.{ending}")


def _as_tiff(data: np.ndarray, ending: str = "tif", **options: Any) -> Callable[[Path], None]:
    return lambda at: imwrite(at / f"a.{ending}", data, **{"photometric": "minisblack", **options})


IMAGEJ = {"axes": "ZYX", "unit": "um", "spacing": 2}
IMAGES: dict[str, tuple[np.ndarray | None, Callable[[Path], Any]]] = {
    "tiff": (GREY, _as_tiff(GREY)),
    "tiff pages": (STACK, _pages),
    "tiff tiles": (STACK, _as_tiff(STACK, tile=(16, 16), compression="zlib", predictor=True)),
    "tiff lzw": (COLOUR, _as_tiff(COLOUR, photometric="rgb", compression="lzw", rowsperstrip=7)),
    **{
        f"tiff {name}": (truth, _as_tiff(data, compression=name, **more))
        for name, data, truth, more in (
            ("packbits", STACK, STACK, {}),
            ("zstd", STACK / 7, STACK / 7, {"predictor": True}),
            ("jpeg2000", GREY, GREY, {}),
            ("jpeg", np.tile(GREY, (3, 3)), None, {"tile": (32, 32)}),
            ("webp", COLOUR, None, {"photometric": "rgb"}),
        )
    },
    "tiff planes of colour": (
        COLOUR.transpose(2, 0, 1),
        _as_tiff(COLOUR.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
    ),
    "tiff palette": (PALETTE.T[GREY], _as_tiff(GREY, photometric="palette", colormap=PALETTE.astype(np.uint16) * 257)),
    "tiff white is 0": (255 - GREY, _as_tiff(GREY, photometric="miniswhite")),
    "tiff of bits": (GREY > 60, _as_tiff(GREY > 60)),
    "bigtiff": (STACK, _as_tiff(STACK, "btf", bigtiff=True, byteorder=">")),
    "ome-tiff": (STACK, _as_tiff(STACK, "ome.tif", ome=True, metadata={"axes": "ZYX", "PhysicalSizeX": 0.2})),
    "ome-tiff of two files": (STACK[1:3], _two_files),
    "imagej": (STACK, lambda at: imwrite(at / "a.tif", STACK, imagej=True, resolution=(5, 4), metadata=IMAGEJ)),
    "lsm": (STACK, _lsm),
    "png": (GREY, _as_picture("png", GREY)),
    "png 16 bits": (DEEP[..., 0], _as_picture("png", DEEP[..., 0])),
    "png palette": (GREY, _as_picture("png", GREY, "P")),
    "png opacity": (COLOUR, _as_picture("png", np.dstack([COLOUR, GREY]))),
    "png 16 bits a colour": (DEEP, lambda at: (at / "a.png").write_bytes(imagecodecs.png_encode(DEEP))),
    "jpeg": (None, _as_picture("jpg", COLOUR)),
    "bmp": (COLOUR, _as_picture("bmp", COLOUR)),
    "gif": (GREY, _as_picture("gif", GREY)),
    "webp": (None, _as_picture("webp", COLOUR)),
    "jp2": (COLOUR, _as_picture("jp2", COLOUR)),
    "ppm": (COLOUR, _as_picture("ppm", COLOUR)),
    "npy": (STACK, lambda at: np.save(at / "a.npy", STACK)),
    "npz": (STACK, lambda at: np.savez_compressed(at / "a.npz", STACK)),
    "zarr 2": (STACK, lambda at: _zarr(at, 2)),
    "zarr 3": (STACK, lambda at: _zarr(at, 3)),
    "zarr 2 lz4": (STACK, lambda at: _zarr(at, 2, compressors=LZ4(5))),
    "zarr 3 blosc": (STACK, lambda at: _zarr(at, 3, compressors=BloscCodec(cname="lz4"))),
    "zarr 3 gzip": (STACK, lambda at: _zarr(at, 3, compressors=GzipCodec())),
    "zarr 3 shards": (STACK, lambda at: _zarr(at, 3, shards=STACK.shape)),
    "ome-zarr 0.4": (STACK, lambda at: write_ome_zarr(at / "a.ome.zarr", STACK, Spatial.plain("ZYX"), "a")),
    "ome-zarr 0.5": (STACK, _ome_zarr_05),
    "record beside": (GREY, _beside),
}
"""The pixels that are to be read, or None where a lossy format decides, and what writes the file."""


def points(folder: Path) -> None:
    (folder / "points.csv").write_text("index,axis-0,axis-1\n0,5.0,5.0\n1,14.0,15.0\n")


def segments(folder: Path) -> None:
    """Write segments in both ways: as a COCO panoptic file, and as labels with a table."""
    kinds = np.array(["cell", "ground"]), np.array([True, False]), np.zeros(2, bool), np.array([0.5, np.nan])
    write_coco_panoptic(folder / "scene.json", [("cells.tif", Segments(LABELS, np.array([1, 2]), *kinds))])
    imwrite(folder / "a.tif", LABELS.astype(np.uint16))
    (folder / "a.csv").write_text("label,class,kind,score\n1,cell,thing,0.5\n2,ground,stuff,\n")


def labels(folder: Path) -> None:
    """Write labels as ImageJ does, as floating-point numbers, and in an OME-Zarr of an image."""
    imwrite(folder / "a.tif", LABELS.astype(np.float32), imagej=True)
    group = zarr.open_group(folder / "b.ome.zarr", mode="w", zarr_format=2)
    group.attrs["multiscales"] = [{"version": "0.4", "datasets": [{"path": "0"}]}]
    group.create_group("labels").attrs["labels"] = ["cells"]
    write_ome_zarr(folder / "b.ome.zarr" / "labels" / "cells", LABELS, Spatial.plain("YX"), "cells")


def paint(folder: Path) -> None:
    """Save paint as the window does while the user paints."""
    saved = PaintCopy(folder / "one", (2, 260, 262))
    saved.update((0, 0, 0), np.full((1, 256, 256), 2, np.uint8))
    saved.update((1, 1, 1), np.full((1, 4, 6), 1, np.uint8))
    saved.save_state({"name": "cells · annotation", "image": "cells", "dtype": "uint8"}, has_changed=True)
    saved.close()


def pairs(folder: Path) -> None:
    """Write images and labels to learn from, and an index of them."""
    for kind, data in (("images", GREY), ("labels", LABELS.astype(np.uint16))):
        (folder / kind).mkdir()
        for name in ("a", "b"):
            imwrite(folder / kind / f"{name}.tif", np.tile(data, (2, 2)))
    rows = "".join(f"images/{name}.tif,labels/{name}.tif,{split}\n" for name, split in (("a", "train"), ("b", "val")))
    (folder / "index.csv").write_text(f"image,label,split\n{rows}")


def models(folder: Path) -> None:
    """Write a U-Net and a Mask R-CNN, too small to find much."""
    from napari_tessera.models.weights import save_model
    from tests.helpers.tiny_models import save_bright, small_mask_rcnn

    save_bright(folder / "bright.safetensors")
    header = {"title": "Boxes", "summary": "Finds boxes.", "classes": ["background", "box"]}
    save_model(folder / "boxes.safetensors", small_mask_rcnn(), header)


def checkpoint(folder: Path) -> None:
    """Write the checkpoint of a training that was cancelled after a few steps."""
    from tests.training.test_recovery import UNET, cut_short

    cut_short(folder / "halves.safetensors", 6, **UNET)


def recipes(folder: Path) -> None:
    """Write the record of a run of each method without a network, and a recipe of two steps."""
    import napari_tessera as tessera
    from tests.fuzz.drawing import WITHOUT_NETWORK

    records: dict[str, Any] = {}
    for method in WITHOUT_NETWORK:
        options = {"axes": "YX", "spacing": 0.5, "unit": "µm", **needed_inputs(method)}
        records[method.name] = tessera.segment(method.name, main_input(method), **options).provenance
    records["steps"] = [records["threshold"], records["refine"]]
    for name, record in records.items():
        (folder / f"{name}.json").write_text(json.dumps(record))


def files(folder: Path) -> None:
    """Write a sound file of each kind that a command reads."""
    for write in (pairs, points, segments, lambda at: _zarr(at, 2)):
        write(folder)
    (folder / "labels.tif").write_bytes((folder / "labels" / "a.tif").read_bytes())
    np.save(folder / "a.npy", GREY)
    recipe = {"tessera": 1, "method": "threshold", "parameters": {}, "axes": "YX"}
    (folder / "recipe.json").write_text(json.dumps(recipe))

"""Reading ends, takes no more memory than the file justifies, invents no pixel, and stays in its folder."""

import io
import json
import os
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_tessera.core.errors import FileError
from napari_tessera.io import read_coco_panoptic, read_image, read_labels, read_points
from napari_tessera.io.read import load

IMAGE = np.random.default_rng(0).integers(0, 255, (16, 16), np.uint8)
STACK = np.random.default_rng(0).integers(0, 255, (3, 16, 16), np.uint8)
ENDINGS = [".tif", ".png", ".npy", ".npz", ".jp2", ".czi"]
on_unix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


def directories(path):
    """Return the offsets of the directories of a small TIFF, and where the last says which comes next."""
    with tifffile.TiffFile(path) as file:
        offsets = [page.offset for page in file.pages]
        count = struct.unpack("<H", path.read_bytes()[offsets[-1] : offsets[-1] + 2])[0]
    return offsets, offsets[-1] + 2 + 12 * count


def lead_to(path, target):
    """Let the last directory lead to another."""
    _, place = directories(path)
    content = bytearray(path.read_bytes())
    content[place : place + 4] = struct.pack("<I", target)
    path.write_bytes(content)


def write_planes(path, count, **how):
    with tifffile.TiffWriter(path) as file:
        for _ in range(count):
            file.write(IMAGE, photometric="minisblack", metadata=None, contiguous=False, **how)


# --- what is no file ----------------------------------------------------------------------------------------------


@on_unix
@pytest.mark.parametrize("ending", ENDINGS)
def test_pipe_is_refused_before_it_is_opened(tmp_path, ending):
    os.mkfifo(tmp_path / f"a{ending}")
    with pytest.raises(FileError, match="is a pipe, but a file is needed"):
        read_image(tmp_path / f"a{ending}")


@on_unix
def test_device_that_never_ends_is_refused(tmp_path):
    (tmp_path / "a.tif").symlink_to("/dev/zero")
    with pytest.raises(FileError, match="is a device, but a file is needed"):
        read_image(tmp_path / "a.tif")


@on_unix
def test_points_in_a_pipe_are_refused(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(FileError, match="is a pipe"):
        read_points(tmp_path / "a.csv")


@on_unix
def test_pipe_beside_a_picture_is_passed_over(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "a.json")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").data, IMAGE)


def test_deep_json_beside_a_picture_is_passed_over(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    (tmp_path / "a.json").write_text("[" * 100_000)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").data, IMAGE)


@on_unix
def test_link_to_itself_is_called_one(tmp_path):
    (tmp_path / "a.tif").symlink_to(tmp_path / "a.tif")
    with pytest.raises(FileError, match="a link that leads back to itself"):
        read_image(tmp_path / "a.tif")


def test_name_that_is_too_long_is_said(tmp_path):
    with pytest.raises(FileError, match=r"longer than this system allows|There is no file"):
        read_image(tmp_path / ("a" * 300 + ".tif"))


@on_unix
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_zarr_chunk_that_never_ends_is_refused(tmp_path, kind):
    zarr.create_array(tmp_path / "a.zarr", data=IMAGE, chunks=(8, 8))
    chunk = tmp_path / "a.zarr/c/0/0"
    chunk.unlink()
    if kind == "pipe":
        os.mkfifo(chunk)
    else:
        chunk.symlink_to("/dev/zero")
    with pytest.raises(FileError, match=f"is a {kind}, but a file is needed"):
        load(read_image(tmp_path / "a.zarr"))


@on_unix
def test_zarr_metadata_in_a_pipe_are_refused(tmp_path):
    zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    (tmp_path / "a.zarr/.zattrs").unlink(missing_ok=True)
    os.mkfifo(tmp_path / "a.zarr/.zattrs")
    with pytest.raises(FileError, match="is a pipe"):
        read_image(tmp_path / "a.zarr")


# --- what never ends or is too large ------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 120])
@pytest.mark.parametrize("target", [0, -1])
def test_directories_in_a_circle_are_refused(tmp_path, count, target):
    write_planes(tmp_path / "a.tif", count)
    offsets, _ = directories(tmp_path / "a.tif")
    lead_to(tmp_path / "a.tif", offsets[target])
    with pytest.raises(FileError, match="form a circle"):
        read_image(tmp_path / "a.tif")


def test_directory_that_leads_nowhere_is_refused(tmp_path):
    write_planes(tmp_path / "a.tif", 3)
    lead_to(tmp_path / "a.tif", 10**6)
    with pytest.raises(FileError, match="plane 4 is beyond its end"):
        read_image(tmp_path / "a.tif")


def test_directory_with_damaged_length_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    write_planes(path, 3)
    offsets, _ = directories(path)
    content = bytearray(path.read_bytes())
    content[offsets[1] : offsets[1] + 2] = b"\xff\xff"
    path.write_bytes(content)
    with pytest.raises(FileError, match="the directory of plane 2 is damaged"):
        read_image(path)


def ome_tiff(path, change, data=STACK, **metadata):
    """Write an OME-TIFF whose XML is changed."""
    tifffile.imwrite(path, data, ome=True, photometric="minisblack", metadata={"axes": "ZYX", **metadata})
    with tifffile.TiffFile(path) as file:
        xml = file.ome_metadata
    tifffile.tiffcomment(path, change(xml).encode())
    return path


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('SizeZ="3"', 'SizeZ="2000000000"'),
        ('PlaneCount="3"', 'PlaneCount="2000000000"'),
        ('SizeT="1"', 'SizeT="-5"'),
    ],
)
def test_ome_xml_of_more_planes_than_a_file_has_is_refused(tmp_path, before, after):
    def change(xml):
        assert before in xml
        return xml.replace(before, after)

    with pytest.raises(FileError, match=r"OME-XML (lists .* planes|has the sizes)"):
        read_image(ome_tiff(tmp_path / "a.ome.tif", change))


def test_xml_that_defines_its_own_text_is_refused(tmp_path):
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    with pytest.raises(FileError, match="document type"):
        read_image(ome_tiff(tmp_path / "a.ome.tif", lambda xml: bomb + xml[xml.index("<OME") :]))


def test_picture_of_more_pixels_than_its_format_is_read_with_is_refused(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[16:24] = struct.pack(">II", 20_000, 20_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(FileError, match=r"more than the 179 million pixels .* Save it as TIFF"):
        read_image(tmp_path / "a.png")


def test_npy_shorter_than_its_header_says_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", IMAGE)
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content.replace(b"(16, 16)", b"(17, 16)"))
    with pytest.raises(FileError, match="damaged or cut off"):
        read_image(tmp_path / "a.npy")


def test_npy_of_absurd_shape_is_refused_before_memory_is_taken(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (30000, 30000), }".ljust(117) + b"\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(80))
    with pytest.raises(FileError, match="cannot be read as an image"):
        read_image(tmp_path / "a.npy")


def test_npz_that_says_it_unpacks_to_more_than_it_can_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=IMAGE)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    entry = content.index(b"PK\1\2")  # of the table of contents; 24 bytes on is the size when unpacked
    content[entry + 24 : entry + 28] = struct.pack("<I", 2**31)
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(FileError, match="2,147 MB of pixels, more than the file can hold"):
        read_image(tmp_path / "a.npz")


def test_npz_shorter_than_its_header_says_is_refused_before_it_is_unpacked(tmp_path):
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (60000, 60000), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(2**24)
        archive.writestr("a.npy", array)
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match="its header says 3,600,000,128 bytes, but it has 16,777,344"):
            read_image(tmp_path / "a.npz")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("descr", ["<f8", "<u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_is_read(tmp_path, descr, order):
    np.savez_compressed(tmp_path / "a.npz", a=np.asarray(IMAGE, descr, order=order))
    np.testing.assert_array_equal(read_image(tmp_path / "a.npz").data, IMAGE)


def test_zarr_of_absurd_shape_is_not_loaded(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", shape=(60_000, 60_000), chunks=(60_000, 600), dtype="u2")
    picture = read_image(tmp_path / "a.zarr")
    with pytest.raises(FileError, match=r"7,200 MB of pixels, more than the file can hold"):
        load(picture)


def test_zarr_of_which_nearly_no_chunk_is_there_is_not_loaded(tmp_path):
    array = zarr.create_array(tmp_path / "a.zarr", shape=(8000, 8000), chunks=(16, 16), dtype="u1")
    array[:16, :16] = IMAGE
    picture = read_image(tmp_path / "a.zarr")
    with pytest.raises(FileError, match="only 2 of its 250,000 chunks exist"):
        load(picture)


def test_zarr_of_more_chunks_than_can_be_listed_is_refused(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", shape=(10**9, 10**9), chunks=(8, 8), dtype="u1")
    with pytest.raises(FileError, match="15,625,000,000,000,000 chunks"):
        read_image(tmp_path / "a.zarr")


def test_zarr_chunk_file_longer_than_a_chunk_is_refused(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=IMAGE)
    with (tmp_path / "a.zarr/c/0/0").open("r+b") as file:
        file.truncate(2**33)  # takes no room on the disk
    with pytest.raises(FileError, match="more than a chunk can have"):
        load(read_image(tmp_path / "a.zarr"))


def test_zarr_chunk_that_unpacks_to_another_length_is_refused(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=IMAGE, compressors=None)
    (tmp_path / "a.zarr/c/0/0").write_bytes(bytes(300))
    with pytest.raises(FileError, match="cannot be read"):
        load(read_image(tmp_path / "a.zarr"))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr_chunks_of_another_name_than_said_are_not_taken_for_zero(tmp_path, zarr_format):
    zarr.create_array(tmp_path / "a.zarr", data=IMAGE, chunks=(8, 8), zarr_format=zarr_format)
    metadata = tmp_path / "a.zarr" / (".zarray" if zarr_format == 2 else "zarr.json")
    said = json.loads(metadata.read_text())
    said.update({"dimension_separator": "/"} if zarr_format == 2 else {})
    if zarr_format == 3:
        said["chunk_key_encoding"] = {"name": "v2", "configuration": {"separator": "."}}
    metadata.write_text(json.dumps(said))
    with pytest.raises(FileError, match="does not have the name that its metadata give"):
        read_image(tmp_path / "a.zarr")


def test_missing_zarr_chunks_are_the_fill_value(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=IMAGE, chunks=(8, 8), fill_value=9)
    (tmp_path / "a.zarr/c/1/1").unlink()
    data = load(read_image(tmp_path / "a.zarr")).data
    assert (data[8:, 8:] == 9).all()
    np.testing.assert_array_equal(data[:8], IMAGE[:8])


# --- pixels that are not there ------------------------------------------------------------------------------------


def multi_file_ome(folder):
    """Write an OME-TIFF of three planes in three files, each with the XML of all."""
    named = "".join(
        f'<TiffData FirstZ="{z}" FirstC="0" FirstT="0" IFD="0" PlaneCount="1">'
        f'<UUID FileName="z{z}.ome.tif">urn:uuid:{z}</UUID></TiffData>'
        for z in range(3)
    )
    for z in range(3):
        xml = (
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{z}"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="16" SizeY="16" SizeZ="3" SizeC="1" '
            f'SizeT="1" PhysicalSizeZ="2"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{named}</Pixels></Image></OME>'
        )
        tifffile.imwrite(
            folder / f"z{z}.ome.tif", STACK[z], photometric="minisblack", metadata=None, description=xml
        )  # fmt: skip
    return folder / "z0.ome.tif"


def test_ome_tiff_in_several_files_is_read_from_any(tmp_path):
    multi_file_ome(tmp_path)
    picture = read_image(tmp_path / "z1.ome.tif")
    assert (picture.axes, picture.spatial.scale[0]) == ("ZYX", 2.0)
    np.testing.assert_array_equal(picture.data, STACK)


def test_file_of_an_ome_tiff_that_is_not_there_is_named(tmp_path):
    path = multi_file_ome(tmp_path)
    (tmp_path / "z2.ome.tif").unlink()
    with pytest.raises(FileError, match=r"lacks 1 of its 3 planes, the first at Z 2, because .*: 'z2\.ome\.tif'"):
        read_image(path)


def test_file_of_an_ome_tiff_outside_the_folder_is_refused(tmp_path):
    (tmp_path / "inner").mkdir()
    path = multi_file_ome(tmp_path / "inner")
    (tmp_path / "inner/z2.ome.tif").rename(tmp_path / "z2.ome.tif")
    with tifffile.TiffFile(path) as file:
        xml = file.ome_metadata.replace("z2.ome.tif", "../z2.ome.tif")
    tifffile.tiffcomment(path, xml.encode())
    with pytest.raises(FileError, match=r"'\.\./z2\.ome\.tif', which lies outside the folder"):
        read_image(path)


@on_unix
def test_link_of_an_ome_tiff_out_of_its_folder_is_refused(tmp_path):
    (tmp_path / "inner").mkdir()
    path = multi_file_ome(tmp_path / "inner")
    (tmp_path / "inner/z2.ome.tif").rename(tmp_path / "z2.ome.tif")
    (tmp_path / "inner/z2.ome.tif").symlink_to(tmp_path / "z2.ome.tif")
    with pytest.raises(FileError, match="a link to a place outside the folder"):
        read_image(path)


@on_unix
def test_pipe_in_place_of_a_file_of_an_ome_tiff_is_refused(tmp_path):
    path = multi_file_ome(tmp_path)
    (tmp_path / "z2.ome.tif").unlink()
    os.mkfifo(tmp_path / "z2.ome.tif")
    with pytest.raises(FileError, match="is a pipe"):
        read_image(path)


def test_plane_that_the_xml_names_and_the_file_lacks_is_refused(tmp_path):
    path = ome_tiff(tmp_path / "a.ome.tif", lambda xml: xml.replace('SizeZ="3"', 'SizeZ="4"'))
    with pytest.raises(FileError, match=r"lacks 1 of its 4 planes, the first at Z 3"):
        read_image(path)


def write_ndtiff(folder, named):
    """Write a plane as Micro-Manager does, with an index that names the file of a second one."""
    entries = [(256, 16), (257, 16), (258, 8), (259, 1), (262, 1), (273, 512), (277, 1), (278, 16), (279, 256)]
    tags = b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in entries)
    tags += struct.pack("<HHII", 51123, 2, 8, 300)
    head = b"II*\0" + struct.pack("<I4I", 40, 483729, 2, 2355492, 0) + bytes(16)
    start = (head + struct.pack("<H", len(entries) + 1) + tags).ljust(300, b"\0") + b'{"a": 1}'
    (folder / "a.tif").write_bytes(start.ljust(512, b"\0") + IMAGE.tobytes())
    with (folder / "NDTiff.index").open("wb") as file:
        for z, name in enumerate(["a.tif", named]):
            axes = json.dumps({"z": z}).encode()
            file.write(struct.pack("<I", len(axes)) + axes + struct.pack("<I", len(name)) + name.encode())
            file.write(struct.pack("<IiiiiIii", 512, 16, 16, 0, 0, 0, 0, 0))
    return folder / "a.tif"


def test_file_that_an_index_of_micro_manager_names_outside_the_folder_is_refused(tmp_path):
    with pytest.raises(FileError, match="lies outside the folder"):
        read_image(write_ndtiff(tmp_path, "../b.tif"))


def test_index_of_micro_manager_is_followed(tmp_path):
    path = write_ndtiff(tmp_path, "b.tif")
    (tmp_path / "b.tif").write_bytes(path.read_bytes())
    np.testing.assert_array_equal(read_image(path).data, np.stack([IMAGE, IMAGE]))


def test_companion_file_says_what_the_planes_are(tmp_path):
    path = multi_file_ome(tmp_path)
    with tifffile.TiffFile(path) as file:
        (tmp_path / "all.companion.ome").write_text(file.ome_metadata)
    only = '<OME xmlns="{0}"><BinaryOnly MetadataFile="all.companion.ome" UUID="urn:uuid:9"/></OME>'
    for z in range(3):
        xml = only.format("http://www.openmicroscopy.org/Schemas/OME/2016-06")
        tifffile.tiffcomment(tmp_path / f"z{z}.ome.tif", xml.encode())
    np.testing.assert_array_equal(read_image(path).data, STACK)
    (tmp_path / "all.companion.ome").unlink()
    with pytest.raises(FileError, match=r"'all\.companion\.ome', which is not beside it"):
        read_image(path)


@pytest.mark.parametrize("compression", ["jpeg", "jpegxr", "packbits", "lzw", "zlib", None])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_compressed_tiff_that_was_cut_off_is_refused(tmp_path, compression, share, tile):
    data = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, data, photometric="rgb", compression=compression, metadata=None, tile=tile)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FileError, match="damaged or cut off"):
        read_image(path)


def test_jpeg_larger_than_its_place_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, IMAGE, photometric="minisblack", compression="jpeg", metadata=None)
    content = bytearray(path.read_bytes())
    start = content.index(b"\xff\xc0")  # of a frame; 5 bytes on are its sides
    content[start + 5 : start + 9] = struct.pack(">HH", 60_000, 60_000)
    path.write_bytes(content)
    with pytest.raises(FileError, match="16 × 16 pixels claims 60000 × 60000"):
        read_image(path)


def test_tile_that_was_left_out_is_zero(tmp_path):
    tiles = iter([IMAGE, None, None, IMAGE])
    tifffile.imwrite(tmp_path / "a.tif", tiles, shape=(32, 32), dtype=np.uint8, tile=(16, 16), photometric="minisblack")
    data = read_image(tmp_path / "a.tif").data
    np.testing.assert_array_equal(data, np.block([[IMAGE, 0 * IMAGE], [0 * IMAGE, IMAGE]]))


def test_plane_that_was_never_written_is_refused(tmp_path):
    write_planes(tmp_path / "a.tif", 2, compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages[1].tags["StripOffsets"].overwrite(0)
        file.pages[1].tags["StripByteCounts"].overwrite(0)
    with pytest.raises(FileError, match="plane 1 was never written"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "gif", "webp", "jp2", "ppm"])
@pytest.mark.parametrize("share", [0.5, 0.97])
def test_picture_that_was_cut_off_is_refused(tmp_path, ending, share):
    data = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(data).save(content, {"jpg": "JPEG", "jp2": "JPEG2000"}.get(ending, ending.upper()))
    (tmp_path / f"a.{ending}").write_bytes(content.getvalue()[: int(len(content.getvalue()) * share)])
    with pytest.raises(FileError, match="damaged or cut off"):
        read_image(tmp_path / f"a.{ending}")


def test_picture_that_is_a_program_under_another_name_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    with pytest.raises(FileError, match="cannot identify"):
        read_image(tmp_path / "a.png")


# --- files that are named in files --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../b.zarr", "/etc", "C:\\b", "a/../../b"])
def test_level_of_an_ome_zarr_outside_it_is_refused(tmp_path, name):
    zarr.create_array(tmp_path / "b.zarr", data=IMAGE)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.attrs["multiscales"] = [{"datasets": [{"path": name}]}]
    with pytest.raises(FileError, match="lies outside the folder"):
        read_image(tmp_path / "a.zarr")


@on_unix
def test_level_of_an_ome_zarr_that_is_a_link_out_of_it_is_refused(tmp_path):
    zarr.create_array(tmp_path / "b.zarr", data=IMAGE)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    group.attrs["ome"] = {"multiscales": [{"datasets": [{"path": "0"}]}]}
    (tmp_path / "a.zarr/0").symlink_to(tmp_path / "b.zarr")
    with pytest.raises(FileError, match="a link to a place outside the folder"):
        read_image(tmp_path / "a.zarr")


def test_labels_of_an_ome_zarr_outside_it_are_refused(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.attrs["multiscales"] = [{"datasets": [{"path": "0"}]}]
    group.create_group("labels").attrs["labels"] = ["../../b"]
    with pytest.raises(FileError, match="lies outside the folder"):
        read_labels(tmp_path / "a.zarr")


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "..\\a.png"])
def test_png_of_coco_panoptic_outside_the_folder_is_refused(tmp_path, name):
    annotation = {"file_name": name, "segments_info": [], "image_id": 1}
    (tmp_path / "a.json").write_text(json.dumps({"annotations": [annotation], "categories": []}))
    with pytest.raises(FileError, match="lies outside the folder"):
        read_coco_panoptic(tmp_path / "a.json")


def test_npz_with_a_file_that_is_no_array_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.txt", b"text")
    with pytest.raises(FileError, match="cannot be read as an image"):
        read_image(tmp_path / "a.npz")

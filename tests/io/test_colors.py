"""Numbers in files are read as what they mean: brightness from either end, palettes, inks, few or many bits."""

import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_tessera.cli.main import main
from napari_tessera.core.errors import FileError
from napari_tessera.io import read_image, read_labels

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (48, 40), np.uint8)
COLOUR = RNG.integers(0, 255, (48, 40, 3), np.uint8)
PALETTE = RNG.integers(0, 255, (3, 256), np.uint16) * 257


def read_back(path, data, **how):
    tifffile.imwrite(path, data, **how)
    return read_image(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, bool])
def test_min_is_white_is_turned_so_that_bright_is_bright(tmp_path, dtype):
    data = np.array([[0, 1], [1, 1]], dtype)
    picture = read_back(tmp_path / "a.tif", data, photometric="miniswhite")
    np.testing.assert_array_equal(picture.data, ~data)
    assert "min-is-white" in picture.notes[0]


def test_min_is_white_reads_as_pillow_reads_it(tmp_path):
    picture = read_back(tmp_path / "a.tif", GREY, photometric="miniswhite")
    np.testing.assert_array_equal(picture.data, np.asarray(Image.open(tmp_path / "a.tif")))


def test_labels_stored_as_min_is_white_are_the_numbers(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="miniswhite")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif").data, GREY)


def test_command_line_says_that_an_image_was_turned_round(tmp_path, capsys):
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="miniswhite")
    assert main(["threshold", str(tmp_path / "a.tif"), "-o", str(tmp_path / "out.tif")]) == 0
    assert "a.tif: Small numbers mean bright (min-is-white)." in capsys.readouterr().err


def test_white_of_a_mask_of_one_bit_is_the_object(tmp_path):
    mask = np.eye(8, dtype=bool)
    Image.fromarray(mask).save(tmp_path / "a.tif", compression="group4", tiffinfo={262: 0})
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        is_inverted = file.pages.first.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    assert is_inverted
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif").data, mask)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.float32])
def test_min_is_white_of_signed_numbers_and_floats_keeps_their_order_reversed(tmp_path, dtype):
    stored = (GREY.astype(int) - 100).clip(-100, 100).astype(dtype)
    read = read_back(tmp_path / "a.tif", stored, photometric="miniswhite").data
    np.testing.assert_array_equal(read.astype(int) + stored.astype(int), int(read.ravel()[0]) + int(stored.ravel()[0]))


def test_palette_of_a_tiff_becomes_colours_as_in_pillow(tmp_path):
    picture = read_back(tmp_path / "a.tif", GREY, photometric="palette", colormap=PALETTE)
    assert picture.axes == "YXC"
    np.testing.assert_array_equal(picture.data, np.asarray(Image.open(tmp_path / "a.tif").convert("RGB")))


def test_palette_of_greys_gives_one_channel(tmp_path):
    greys = np.tile(np.arange(255, -1, -1, dtype=np.uint16) * 257, (3, 1))
    picture = read_back(tmp_path / "a.tif", GREY, photometric="palette", colormap=greys)
    assert picture.axes == "YX"
    np.testing.assert_array_equal(picture.data, 255 - GREY)


def test_palette_labels_of_a_tiff_are_the_numbers(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="palette", colormap=PALETTE)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif").data, GREY)


def test_display_colours_of_imagej_leave_intensities_as_they_are(tmp_path):
    description = "ImageJ=1.54f\nimages=1\n"
    picture = read_back(
        tmp_path / "a.tif", GREY, photometric="palette", colormap=PALETTE, description=description, metadata=None
    )
    np.testing.assert_array_equal(picture.data, GREY)


def test_large_palette_is_looked_up_when_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_tessera.io.tiff.LAZY_FROM_BYTES", 100)
    picture = read_back(tmp_path / "a.tif", GREY, photometric="palette", colormap=PALETTE)
    assert (picture.axes, picture.data.shape) == ("YXC", (48, 40, 3))
    np.testing.assert_array_equal(np.asarray(picture.data), np.asarray(Image.open(tmp_path / "a.tif").convert("RGB")))


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_printing_inks_become_rgb_as_in_pillow(tmp_path, planar):
    inks = RNG.integers(0, 255, (48, 40, 4), np.uint8)
    stored = inks if planar == "contig" else np.ascontiguousarray(np.moveaxis(inks, -1, 0))
    picture = read_back(tmp_path / "a.tif", stored, photometric="separated", planarconfig=planar)
    assert picture.axes == "YXC"
    np.testing.assert_array_equal(picture.data, np.asarray(Image.fromarray(inks, "CMYK").convert("RGB")))


def test_inks_other_than_cmyk_are_refused(tmp_path):
    data = np.zeros((8, 8, 4), np.uint8)
    with pytest.raises(FileError, match="inks other than CMYK"):
        read_back(tmp_path / "a.tif", data, photometric="separated", extratags=[(332, 3, 1, 2, True)])


def test_ycbcr_without_jpeg_becomes_rgb_as_in_pillow(tmp_path):
    ycbcr = np.asarray(Image.fromarray(COLOUR).convert("YCbCr"))
    picture = read_back(tmp_path / "a.tif", ycbcr, photometric="ycbcr", compression="zlib", subsampling=(1, 1))
    expected = np.asarray(Image.fromarray(ycbcr, "YCbCr").convert("RGB"))
    np.testing.assert_array_equal(picture.data, expected)


@pytest.mark.parametrize("kind", ["ycbcr", "rgb"])
def test_jpeg_in_a_tiff_is_decoded_as_in_pillow(tmp_path, kind):
    picture = read_back(tmp_path / "a.tif", COLOUR, photometric=kind, compression="jpeg")
    np.testing.assert_array_equal(picture.data, np.asarray(Image.open(tmp_path / "a.tif").convert("RGB")))


@pytest.mark.parametrize(("kind", "name"), [("cielab", r"CIE L\*a\*b\*"), ("cfa", "colour mosaic")])
def test_colours_that_are_not_read_are_named(tmp_path, kind, name):
    data = COLOUR if kind == "cielab" else GREY
    extra = [(33421, 3, 2, (2, 2), True), (33422, 1, 4, b"\0\1\1\2", True)] if kind == "cfa" else ()
    with pytest.raises(FileError, match=f"stored as .*{name}.*Save it in grey or RGB"):
        read_back(tmp_path / "a.tif", data, photometric=kind, extratags=extra)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_opacity_of_a_tiff_is_left_out(tmp_path, planar):
    data = np.dstack([COLOUR, GREY])
    stored = data if planar == "contig" else np.ascontiguousarray(np.moveaxis(data, -1, 0))
    picture = read_back(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar, extrasamples=["unassalpha"])
    axis = picture.axes.index("C")
    np.testing.assert_array_equal(np.moveaxis(picture.data, axis, -1), COLOUR)


def test_a_fourth_channel_that_is_no_opacity_is_kept(tmp_path):
    data = np.dstack([COLOUR, GREY])
    picture = read_back(tmp_path / "a.tif", data, photometric="rgb", extrasamples=["unspecified"])
    np.testing.assert_array_equal(picture.data, data)


@pytest.mark.parametrize("bits", [1, 2, 4, 12])
def test_few_bits_give_the_numbers_stored(tmp_path, bits):
    numbers = RNG.integers(0, 2**bits, (48, 40)).astype(np.uint8 if bits <= 8 else np.uint16)
    path = tmp_path / "a.tif"
    if bits == 1:
        tifffile.imwrite(path, numbers.astype(bool), photometric="minisblack")
    else:
        packed = imagecodecs.packints_encode(numbers, bits, runlen=40)
        write_packed(path, packed, bits)
    np.testing.assert_array_equal(read_image(path).data, numbers)


def write_packed(path, packed, bits):
    """Write bytes as the one strip of a 48 × 40 image of so many bits."""
    tifffile.imwrite(path, np.frombuffer(packed, np.uint8).reshape(48, -1), photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as file:
        tags = file.pages.first.tags
        tags["ImageWidth"].overwrite(40)
        tags["BitsPerSample"].overwrite(bits)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">u2", "<i4"])
@pytest.mark.parametrize("predictor", [False, True])
def test_predictor_is_undone(tmp_path, dtype, predictor):
    data = RNG.normal(100, 20, (48, 40)).astype(dtype)
    picture = read_back(tmp_path / "a.tif", data, compression="zlib", predictor=predictor, photometric="minisblack")
    np.testing.assert_array_equal(picture.data, data)


@pytest.mark.parametrize("compression", ["lzw", "packbits", "zstd", "lzma", "png", "webp", "jpeg2000", "jpegxl"])
def test_lossless_compressions_give_the_same_pixels(tmp_path, compression):
    how = {"compressionargs": {"lossless": True}} if compression == "webp" else {}
    how = {"compressionargs": {"level": 0}} if compression == "jpeg2000" else how
    picture = read_back(tmp_path / "a.tif", COLOUR, photometric="rgb", compression=compression, **how)
    np.testing.assert_array_equal(picture.data, COLOUR)


def test_bits_in_the_other_order_are_turned(tmp_path):
    turned = np.frombuffer(imagecodecs.bitorder_encode(GREY.tobytes()), np.uint8).reshape(48, 40)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, turned, photometric="minisblack", metadata=None, extratags=[(65000, 3, 1, 2, True)])
    fill_order = struct.pack("<HHI", 266, 3, 1)  # which tifffile does not write
    path.write_bytes(path.read_bytes().replace(struct.pack("<HHI", 65000, 3, 1), fill_order))
    np.testing.assert_array_equal(read_image(path).data, GREY)


@pytest.mark.parametrize("white", [7, 255, 4095, 65535])
@pytest.mark.parametrize("is_plain", [False, True])
def test_netpbm_gives_the_numbers_stored(tmp_path, white, is_plain):
    numbers = np.array([[0, 1], [3, white]], np.uint16)
    head = f"P{2 if is_plain else 5} 2 2 {white}\n".encode()
    text = " ".join(map(str, numbers.ravel())).encode()
    binary = numbers.astype("u1" if white < 256 else ">u2").tobytes()
    (tmp_path / "a.pgm").write_bytes(head + (text if is_plain else binary))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.pgm").data, numbers)


def test_netpbm_colours_keep_16_bits(tmp_path):
    numbers = np.array([[[300, 0, 65535]]], np.uint16)
    (tmp_path / "a.ppm").write_bytes(b"P6 1 1 65535\n" + numbers.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_image(tmp_path / "a.ppm").data, numbers)


@pytest.mark.parametrize("shape", [(48, 40), (48, 40, 3)])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_2000_gives_the_numbers_stored(tmp_path, shape, bits):
    numbers = RNG.integers(0, 2**bits, shape).astype(np.uint8 if bits == 8 else np.uint16)
    (tmp_path / "a.jp2").write_bytes(imagecodecs.jpeg2k_encode(numbers, codecformat="jp2", level=0, bitspersample=bits))
    np.testing.assert_array_equal(read_image(tmp_path / "a.jp2").data, numbers)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_png_palettes_of_any_depth_are_read_as_in_pillow(tmp_path, bits):
    picture = Image.fromarray(GREY & (2**bits - 1)).convert("P")
    picture.putpalette(list(RNG.integers(0, 255, 3 * 2**bits)))
    picture.save(tmp_path / "a.png", bits=bits, transparency=0)
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.png").data, np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    )


def test_cmyk_jpeg_becomes_rgb(tmp_path):
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[..., 0] = 255
    Image.fromarray(inks, "CMYK").save(tmp_path / "a.jpg", quality=100)
    red, green, blue = read_image(tmp_path / "a.jpg").data.mean((0, 1))
    assert red < 10
    assert green > 245
    assert blue > 245


def test_planes_stored_in_different_ways_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GREY, photometric="minisblack", metadata=None, description="ImageJ=1.54f\nimages=2\nslices=2\n")
        file.write(GREY, photometric="miniswhite", metadata=None)
    with pytest.raises(FileError, match="stored in another way"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", [np.complex64, "M8[s]", "U3", [("x", "u1")]])
def test_values_that_are_no_real_numbers_are_refused(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.zeros((4, 5), dtype))
    with pytest.raises(FileError, match="an image holds real numbers"):
        read_image(tmp_path / "a.npy")


# --- several images in one file -----------------------------------------------------------------------------------

OTHERS = "It holds 2 images: 0 ("


def tiff_of(path, *images, **how):
    with tifffile.TiffWriter(path, ome=how.pop("ome", False)) as file:
        for image, settings in images:
            file.write(image, **{"metadata": None, **settings})
    return read_image(path)


@pytest.mark.parametrize(
    "other",
    [(GREY[:8], {}), (GREY.astype(np.uint16), {}), (COLOUR, {"photometric": "rgb"})],
    ids=["size", "type", "colours"],
)
def test_pages_of_another_kind_that_are_not_read_are_noted(tmp_path, other):
    picture = tiff_of(tmp_path / "a.tif", (GREY, {}), other)
    np.testing.assert_array_equal(picture.data, GREY)
    [note] = picture.notes
    assert note.startswith(OTHERS)


def test_pages_that_are_copies_or_masks_are_not_noted(tmp_path):
    picture = tiff_of(
        tmp_path / "a.tif", (GREY, {}), (GREY[::3, ::3], {"subfiletype": 1}), (GREY > 9, {"subfiletype": 4})
    )
    assert picture.notes == ()


@pytest.mark.parametrize(("name", "is_noted"), [("Label image", False), ("macro", False), ("nuclei", True)])
def test_images_of_an_ome_tiff_other_than_of_a_slide_itself_are_noted(tmp_path, name, is_noted):
    images = (GREY, {"metadata": {"Name": "cells"}}), (GREY[:8], {"metadata": {"Name": name}})
    notes = tiff_of(tmp_path / "a.ome.tif", *images, ome=True).notes
    assert [note.startswith(OTHERS) for note in notes] == [True] * is_noted


def test_levels_of_a_pyramid_are_not_noted(tmp_path):
    images = (np.kron(GREY, np.ones((8, 8), np.uint8)), {"subifds": 1}), (np.kron(GREY, np.ones((4, 4), np.uint8)), {})
    assert tiff_of(tmp_path / "a.tif", *images).notes == ()


@pytest.mark.parametrize("ending", ["gif", "png", "webp"])
def test_frames_that_are_not_read_are_noted(tmp_path, ending):
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    first.save(tmp_path / f"a.{ending}", save_all=True, append_images=[second], lossless=True)
    picture = read_image(tmp_path / f"a.{ending}")
    np.testing.assert_array_equal(picture.data if picture.data.ndim == 2 else picture.data[..., 0], GREY)
    [note] = picture.notes
    assert note.startswith(OTHERS)
    first.save(tmp_path / f"b.{ending}")
    assert read_image(tmp_path / f"b.{ending}").notes == ()


def test_multiscale_images_of_an_ome_zarr_that_are_not_read_are_noted(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=GREY)
    group.attrs["multiscales"] = [{"datasets": [{"path": "0"}], "axes": ["y", "x"]}] * 2
    [note] = read_image(tmp_path / "a.zarr").notes
    assert note.startswith(OTHERS)


def test_command_line_says_that_others_were_not_read(tmp_path, capsys):
    tiff_of(tmp_path / "a.tif", (GREY, {}), (GREY[:8], {}))
    assert main(["threshold", str(tmp_path / "a.tif"), "-o", str(tmp_path / "out.tif")]) == 0
    assert f"a.tif: {OTHERS}" in capsys.readouterr().err


# --- opacity ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_opacity_that_is_0_everywhere_is_left_out_with_a_note(tmp_path, name, dtype):
    colours = np.random.default_rng(0).integers(0, 200, (40, 48, 4)).astype(dtype)
    colours[..., 3] = 0
    if name.endswith("tif"):
        tifffile.imwrite(tmp_path / name, colours, photometric="rgb", extrasamples=["UNASSALPHA"])
    else:
        (tmp_path / name).write_bytes(imagecodecs.png_encode(colours))
    picture = read_image(tmp_path / name)
    np.testing.assert_array_equal(picture.data, colours[..., :3])
    assert picture.notes == ("Its opacity is 0 everywhere, so it was ignored.",)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
@pytest.mark.parametrize(("opacity", "channels"), [(0, 4), (128, 3), (255, 3)])
def test_opacity_is_kept_only_if_it_hides_pixels(tmp_path, name, opacity, channels):
    colours = np.full((40, 48, 4), 255, np.uint8)
    colours[..., :3] = np.random.default_rng(0).integers(0, 200, (40, 48, 3))
    colours[:10, :12, 3] = opacity
    if name.endswith("tif"):
        tifffile.imwrite(tmp_path / name, colours, photometric="rgb", extrasamples=["UNASSALPHA"])
    else:
        Image.fromarray(colours).save(tmp_path / name, lossless=True, exact=True)
    picture = read_image(tmp_path / name)
    assert (picture.axes, picture.data.shape[-1]) == ("YXC", channels)
    np.testing.assert_array_equal(picture.data, colours[..., :channels])

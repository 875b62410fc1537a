"""Each format keeps pixels, axes, pixel size and units."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from PIL import Image

import napari_tessera as tessera
from napari_tessera.cli.evaluate import read_table
from napari_tessera.core.errors import FileError
from napari_tessera.core.result import LabelImage, Result
from napari_tessera.core.spatial import Spatial
from napari_tessera.io import read_image, read_labels, read_points, write_result

MICROMETRES_3D = Spatial.with_spacing("ZYX", (0.5, 0.2, 0.25), "micrometer")
MICROMETRES_2D = Spatial.with_spacing("YX", (0.2, 0.25), "micrometer")


def labelled(spatial, largest=3):
    labels = np.zeros((3, 5, 4)[-len(spatial.axes) :], np.int32)
    labels[..., 0, 1:3] = (1, largest)
    table = {"label": np.array([1, largest]), "area": np.array([2, 2])}
    image = LabelImage("threshold", labels, spatial, "objects", table)
    return Result((image,), {"tessera": 1, "method": "threshold", "parameters": {}, "axes": spatial.axes})


@pytest.mark.parametrize("ending", [".tif", ".ome.tif", ".ome.zarr", ".zarr", ".npy"])
def test_3d_labels_come_back_with_size_and_unit(tmp_path, ending):
    result = labelled(MICROMETRES_3D)
    path, *_ = write_result(result, tmp_path / f"cells{ending}")
    picture = read_labels(path)
    np.testing.assert_array_equal(np.asarray(picture.data), result.labels)
    assert (picture.axes, picture.name) == ("ZYX", "cells")
    np.testing.assert_allclose(picture.spatial.scale, MICROMETRES_3D.scale, rtol=1e-6)
    assert picture.spatial.units == ("micrometer",) * 3


@pytest.mark.parametrize("ending", [".tif", ".ome.tif", ".ome.zarr", ".png", ".npy"])
def test_2d_labels_come_back_with_size_and_unit(tmp_path, ending):
    result = labelled(MICROMETRES_2D)
    path, *_ = write_result(result, tmp_path / f"cells{ending}")
    picture = read_labels(path)
    np.testing.assert_array_equal(np.asarray(picture.data), result.labels)
    np.testing.assert_allclose(picture.spatial.scale, MICROMETRES_2D.scale, rtol=1e-6)
    assert picture.spatial.units == ("micrometer",) * 2


@pytest.mark.parametrize("ending", [".tif", ".ome.tif", ".ome.zarr"])
def test_time_keeps_its_interval(tmp_path, ending):
    spatial = Spatial("TYX", (30.0, 0.2, 0.2), (0.0,) * 3, ("second", "micrometer", "micrometer"))
    path, *_ = write_result(labelled(spatial), tmp_path / f"cells{ending}")
    picture = read_labels(path)
    assert picture.axes == "TYX"
    assert picture.spatial.scale[0] == pytest.approx(30)
    assert picture.spatial.units[0] == "second"


@pytest.mark.parametrize("ending", [".tif", ".ome.tif", ".ome.zarr", ".npy"])
def test_more_labels_than_16_bits_survive(tmp_path, ending):
    path, *_ = write_result(labelled(MICROMETRES_3D, largest=70_000), tmp_path / f"cells{ending}")
    picture = read_labels(path)
    assert int(np.asarray(picture.data).max()) == 70_000
    np.testing.assert_allclose(picture.spatial.scale, MICROMETRES_3D.scale, rtol=1e-6)


def test_tif_is_what_imagej_reads(tmp_path):
    path, *_ = write_result(labelled(MICROMETRES_3D), tmp_path / "cells.tif")
    with tifffile.TiffFile(path) as file:
        assert file.is_imagej
        assert file.imagej_metadata["spacing"] == 0.5
        assert file.series[0].dtype == np.uint16


def test_ome_zarr_keeps_its_offset(tmp_path):
    spatial = Spatial("YX", (0.5, 0.5), (10.0, 20.0), ("micrometer", "micrometer"))
    path, *_ = write_result(labelled(spatial), tmp_path / "cells.zarr")
    assert read_labels(path).spatial.translate == (10.0, 20.0)


def test_ome_zarr_levels_are_strided_and_twice_as_coarse(tmp_path):
    labels = np.arange(600 * 600, dtype=np.int32).reshape(600, 600)
    image = LabelImage("threshold", labels, MICROMETRES_2D, "objects", {})
    path, *_ = write_result(Result((image,), {}), tmp_path / "cells.zarr")
    coarse = read_labels(path, level=1)
    np.testing.assert_array_equal(np.asarray(coarse.data), labels[::2, ::2])
    np.testing.assert_allclose(coarse.spatial.scale, (0.4, 0.5))


def test_ome_zarr_is_marked_as_labels_of_version_0_4(tmp_path):
    path, *_ = write_result(labelled(MICROMETRES_2D), tmp_path / "cells.zarr")
    group = zarr.open_group(path, mode="r")
    assert group.metadata.zarr_format == 2
    assert group.attrs["image-label"] == {"version": "0.4"}
    assert [axis["unit"] for axis in group.attrs["multiscales"][0]["axes"]] == ["micrometer", "micrometer"]


def make_ome_zarr(path, zarr_format, data=None):
    """An image in time and channels; the scale is split between the level and the whole image."""
    data = np.arange(2 * 1 * 3 * 4).reshape(2, 1, 3, 4).astype(np.uint8) if data is None else data
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    group.create_array("full", data=data)
    axes = [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "c", "type": "channel"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    steps = [{"type": "scale", "scale": [1, 1, 0.5, 0.5]}, {"type": "translation", "translation": [0, 0, 1, 2]}]
    image = {
        "axes": axes,
        "datasets": [{"path": "full", "coordinateTransformations": steps}],
        "coordinateTransformations": [{"type": "scale", "scale": [5, 1, 1, 2]}],
    }
    said = {"multiscales": [image]}
    group.attrs.update({"ome": {"version": "0.5", **said}} if zarr_format == 3 else said)
    return group


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_both_ome_zarr_versions_are_read(tmp_path, zarr_format):
    make_ome_zarr(tmp_path / "image.zarr", zarr_format)
    picture = read_image(tmp_path / "image.zarr")
    assert picture.axes == "TYX"
    assert picture.spatial == Spatial("TYX", (5, 0.5, 1), (0, 1, 4), ("second", "micrometer", "micrometer"))


def test_ome_zarr_is_read_lazily(tmp_path):
    make_ome_zarr(tmp_path / "image.zarr", 3)
    assert type(read_image(tmp_path / "image.zarr").data).__module__.startswith("dask")


def test_labels_of_an_ome_zarr_image_are_found(tmp_path):
    group = make_ome_zarr(tmp_path / "image.zarr", 2)
    group.create_group("labels").attrs["labels"] = ["nuclei"]
    write_result(labelled(MICROMETRES_2D), tmp_path / "image.zarr" / "labels" / "nuclei.zarr")
    (tmp_path / "image.zarr/labels/nuclei.zarr").rename(tmp_path / "image.zarr/labels/nuclei")
    assert np.asarray(read_labels(tmp_path / "image.zarr").data).max() == 3


def test_plain_zarr_array_names_its_axes(tmp_path):
    array = zarr.create_array(
        tmp_path / "plain.zarr", shape=(2, 3, 4), dtype="u2", chunks=(1, 3, 4), dimension_names=["time", "y", "x"]
    )
    array[...] = 7
    picture = read_image(tmp_path / "plain.zarr")
    assert picture.axes == "TYX"
    assert np.asarray(picture.data).sum() == 7 * 24


def test_imagej_hyperstack_keeps_channels_and_micrometres(tmp_path):
    data = np.zeros((3, 2, 5, 6), np.uint16)
    metadata = {"axes": "ZCYX", "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "a.tif", data, imagej=True, metadata=metadata, resolution=(4, 5))
    picture = read_image(tmp_path / "a.tif")
    assert picture.axes == "ZCYX"
    np.testing.assert_allclose(picture.spatial.scale, (2.0, 0.2, 0.25))
    assert picture.spatial.unit == "micrometer"


def test_tiff_resolution_in_centimetres_is_a_pixel_size(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 6), np.uint8), resolution=(20_000, 20_000), resolutionunit=3)
    assert read_image(tmp_path / "a.tif").spatial == Spatial.with_spacing("YX", (0.5, 0.5), "micrometer")


@pytest.mark.parametrize(("per_inch", "size"), [(50_800, 0.5), (300, 25_400 / 300)])
def test_tiff_resolution_in_inches_is_a_pixel_size_in_micrometres(tmp_path, per_inch, size):
    resolution = (per_inch, per_inch)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 6), np.uint8), resolution=resolution, resolutionunit=2)
    spatial = read_image(tmp_path / "a.tif").spatial
    assert (spatial.spacing, spatial.unit) == (pytest.approx((size, size)), "micrometer")


@pytest.mark.parametrize("per_inch", [1, 72, 96])
def test_dots_per_inch_of_a_screen_are_no_pixel_size(tmp_path, per_inch):
    resolution = (per_inch, per_inch)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 6), np.uint8), resolution=resolution, resolutionunit=2)
    assert read_image(tmp_path / "a.tif").spatial == Spatial.plain("YX")


def test_rgb_tiff_has_channels_last(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 6, 3), np.uint8), photometric="rgb")
    assert read_image(tmp_path / "a.tif").axes == "YXC"


def test_tiff_levels_are_coarser_in_size_too(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        metadata = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        file.write(np.ones((64, 64), np.uint8), subifds=1, metadata=metadata)
        file.write(np.ones((32, 32), np.uint8), subfiletype=1)
    picture = read_image(tmp_path / "a.ome.tif", level=1)
    assert picture.data.shape == (32, 32)
    assert picture.spatial.scale == (1.0, 1.0)


def test_stack_of_unnamed_pages_is_taken_for_z(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((7, 5, 6), np.uint16))
    assert read_image(tmp_path / "a.tif").axes == "ZYX"


def test_axes_given_overrule_the_file(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((7, 5, 6), np.uint16))
    assert read_image(tmp_path / "a.tif", axes="TYX").axes == "TYX"


def test_size_of_z_is_not_taken_for_time(tmp_path):
    path, *_ = write_result(labelled(MICROMETRES_3D), tmp_path / "cells.tif")
    assert read_image(path, axes="TYX").spatial.scale[0] == 1.0


def test_axes_of_length_one_are_dropped(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((1, 1, 5, 6), np.uint8))
    picture = read_image(tmp_path / "a.npy")
    assert (picture.axes, picture.data.shape) == ("YX", (5, 6))


def test_image_of_one_row_keeps_its_row(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((1, 6), np.uint8))
    assert read_image(tmp_path / "a.npy").data.shape == (1, 6)


def test_npz_with_one_array_is_read(tmp_path):
    np.savez(tmp_path / "a.npz", image=np.eye(3))
    np.testing.assert_array_equal(read_image(tmp_path / "a.npz").data, np.eye(3))


def test_grey_png_of_16_bits(tmp_path):
    values = np.array([[0, 300], [65535, 1]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").data, values)


def test_colour_png_of_16_bits_keeps_them(tmp_path):
    import imagecodecs

    values = np.full((2, 2, 3), 300, np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").data, values)


def test_opacity_is_left_out(tmp_path):
    Image.fromarray(np.full((2, 3, 4), 9, np.uint8), "RGBA").save(tmp_path / "a.png")
    picture = read_image(tmp_path / "a.png")
    assert (picture.axes, picture.data.shape) == ("YXC", (2, 3, 3))


def palette_png(path):
    picture = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8)).convert("P")
    picture.putdata([0, 1, 2, 1])
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(path)
    return path


def test_palette_image_becomes_colours(tmp_path):
    data = read_image(palette_png(tmp_path / "a.png")).data
    np.testing.assert_array_equal(data[0, 1], [255, 0, 0])


def test_palette_labels_are_the_numbers(tmp_path):
    np.testing.assert_array_equal(read_labels(palette_png(tmp_path / "a.png")).data, [[0, 1], [2, 1]])


def test_jpeg_is_read(tmp_path):
    Image.fromarray(np.full((8, 8, 3), 128, np.uint8)).save(tmp_path / "a.JPG")
    assert read_image(tmp_path / "a.JPG").axes == "YXC"


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("index,axis-0,axis-1\n0,1.5,2\n1,3,4\n", [[1.5, 2], [3, 4]]),
        ("x,y\n2,1.5\n4,3\n", [[1.5, 2], [3, 4]]),
        ("Z;Y;X\n1;2;3\n", [[1, 2, 3]]),
        ("name\ty\tx\na\t1\t2\n", [[1, 2]]),
        ("1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("\ufeffy,x\r\n1,2\r\n\r\n", [[1, 2]]),
    ],
)
def test_points_are_read_in_the_order_of_the_axes(tmp_path, text, points):
    (tmp_path / "seeds.csv").write_text(text, encoding="utf-8")
    np.testing.assert_array_equal(read_points(tmp_path / "seeds.csv"), points)


def test_header_without_points_is_no_points(tmp_path):
    (tmp_path / "seeds.csv").write_text("y,x\n")
    assert read_points(tmp_path / "seeds.csv").shape == (0, 2)


def test_large_tiff_is_read_lazily(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_tessera.io.tiff.LAZY_FROM_BYTES", 100)
    path, *_ = write_result(labelled(MICROMETRES_3D), tmp_path / "cells.ome.tif")
    picture = read_labels(path)
    assert type(picture.data).__module__.startswith("dask")
    np.testing.assert_array_equal(np.asarray(picture.data), labelled(MICROMETRES_3D).labels)


def test_labels_on_disk_are_copied_to_ome_zarr(tmp_path):
    labels = zarr.create_array(tmp_path / "disk.zarr", data=np.eye(700, dtype=np.int32), chunks=(256, 256))
    image = LabelImage("threshold", labels, MICROMETRES_2D, "objects", {})
    path, *_ = write_result(Result((image,), {}), tmp_path / "cells.zarr")
    np.testing.assert_array_equal(np.asarray(read_labels(path).data), np.eye(700))


def test_ome_zarr_keeps_to_the_specification(tmp_path):
    from ome_zarr_models.v04 import image_label

    path, *_ = write_result(labelled(MICROMETRES_3D), tmp_path / "cells.zarr")
    image = image_label.ImageLabel.from_zarr(zarr.open_group(path, mode="r"))
    assert [axis.name for axis in image.attributes.multiscales[0].axes] == ["z", "y", "x"]


@pytest.mark.parametrize("ending", [".tif", ".ome.tif"])
@pytest.mark.parametrize(("axes", "written"), [("XY", "YX"), ("YXZ", "ZYX"), ("XTY", "TYX")])
def test_y_and_x_become_the_last_axes_of_a_tiff(tmp_path, ending, axes, written):
    size = {"Y": 3, "X": 4, "Z": 2, "T": 2}
    labels = np.arange(int(np.prod([size[axis] for axis in axes])), dtype=np.int32).reshape([size[a] for a in axes])
    spatial = Spatial.with_spacing(axes, [{"Y": 0.2, "X": 0.25, "Z": 0.5}[a] for a in axes if a != "T"], "micrometer")
    result = Result((LabelImage("threshold", labels, spatial, "objects", {}),), {})
    path, record, *_ = write_result(result, tmp_path / f"cells{ending}")
    picture = read_labels(path)
    assert picture.axes == written
    np.testing.assert_array_equal(picture.data, labels.transpose([axes.index(axis) for axis in written]))
    expected = {"Y": 0.2, "X": 0.25, "Z": 0.5, "T": 1}
    np.testing.assert_allclose(picture.spatial.scale, [expected[axis] for axis in written], rtol=1e-6)
    assert json.loads(record.read_text())["outputs"][0]["spatial"]["axes"] == written


def test_a_table_has_the_names_of_its_columns_and_the_record_their_units(tmp_path):
    image = np.zeros((8, 8), np.uint8)
    image[2:5, 2:5] = 200
    result = tessera.segment("threshold", image, output="objects", spacing=0.5, unit="µm")
    _, record, table = write_result(result, tmp_path / "cells.tif")
    written = pd.read_csv(table)
    assert list(written) == list(result.table)
    assert written["area"].tolist() == [2.25]
    assert read_table(table)["label"].tolist() == [1]
    units = json.loads(record.read_text(encoding="utf-8"))["outputs"][0]["units"]
    assert units == result.units
    assert (units["area"], units["centroid-1"], units["bbox-3"]) == ("µm²", "µm", "px")


def of_further_axis(axis):
    labels = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    return Result((LabelImage("threshold", labels, Spatial.plain(f"{axis}YX"), "objects", {}),), {})


@pytest.mark.parametrize("axis", "TZAEHPR")
def test_a_further_axis_is_the_same_when_a_tiff_is_read(tmp_path, axis):
    result = of_further_axis(axis)
    path, *_ = write_result(result, tmp_path / "cells.tif")
    assert read_labels(path).axes == f"{axis}YX"
    np.testing.assert_array_equal(read_labels(path).data, result.labels)


@pytest.mark.parametrize("axis", "BDFGIJKLMNOQSUVW")
def test_an_axis_that_tiff_does_not_know_is_refused(tmp_path, axis):
    with pytest.raises(FileError, match=f"TIFF has no axis {axis}"):
        write_result(of_further_axis(axis), tmp_path / "cells.tif")
    assert not list(tmp_path.iterdir())


def test_labels_above_63_bits_get_new_numbers_and_a_note(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[0, 2**63 + 5, 7], [2**64 - 1, 0, 7]], np.uint64))
    picture = read_labels(tmp_path / "a.npy")
    assert picture.data.tolist() == [[0, 1, 2], [3, 0, 2]]
    assert "18,446,744,073,709,551,615" in picture.notes[0]


@pytest.mark.parametrize("ending", ["npy", "tif"])
def test_neighbouring_labels_above_63_bits_stay_apart(tmp_path, ending):
    labels = np.array([[0, 2**63 + 6, 2**63 + 7, 3], [2**64 - 1, 2**64 - 2, 0, 3]], np.uint64)
    path = tmp_path / f"a.{ending}"
    np.save(path, labels) if ending == "npy" else tifffile.imwrite(path, labels)
    assert read_labels(path).data.tolist() == [[0, 1, 2, 3], [4, 5, 0, 3]]


def test_planes_of_imagej_without_a_distance_are_one_unit_apart(tmp_path):
    volume = np.zeros((3, 8, 9), np.uint8)
    metadata = {"axes": "ZYX", "unit": "um"}
    tifffile.imwrite(tmp_path / "a.tif", volume, imagej=True, resolution=(2, 2), metadata=metadata)
    spatial = read_image(tmp_path / "a.tif").spatial
    assert (spatial.spacing, spatial.unit) == ((1.0, 0.5, 0.5), "micrometer")


@pytest.mark.parametrize("is_large", [False, True])
def test_slides_have_the_pixel_size_of_their_scanner(tmp_path, monkeypatch, is_large):
    description = (
        "Aperio Image Library v11.2.1\n46000x32914 (240x240) JPEG/RGB Q=30|AppMag = 20|MPP = 0.4990|Left = 25.6"
    )
    image = np.zeros((64, 64, 3), np.uint8)
    tifffile.imwrite(
        tmp_path / "a.svs", image, photometric="rgb", tile=(16, 16), description=description, metadata=None
    )
    if is_large:
        monkeypatch.setattr("napari_tessera.io.tiff.LAZY_FROM_BYTES", 100)
    spatial = read_image(tmp_path / "a.svs").spatial
    assert (spatial.spacing, spatial.unit) == ((0.499, 0.499), "micrometer")


@pytest.mark.parametrize(
    ("shape", "axes", "read_axes", "read_shape"),
    [
        ((1, 8, 9), "ZYX", "YX", (8, 9)),
        ((5, 1, 8, 9), "TZYX", "TYX", (5, 8, 9)),
        ((5, 1, 8, 9), "TYX", "TYX", (5, 8, 9)),
        ((8, 9, 1), "YXC", "YX", (8, 9)),
        ((8, 9, 1), None, "YX", (8, 9)),
        ((1, 8, 9), None, "YX", (8, 9)),
        ((1, 1, 9), None, "YX", (1, 9)),
    ],
)
def test_axes_of_length_one_are_dropped_whether_they_are_named_or_not(tmp_path, shape, axes, read_axes, read_shape):
    np.save(tmp_path / "a.npy", np.arange(np.prod(shape)).reshape(shape))
    picture = read_image(tmp_path / "a.npy", axes=axes)
    assert (picture.axes, picture.data.shape) == (read_axes, read_shape)

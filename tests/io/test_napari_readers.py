"""Formats we do not know are read by the reader plugins that are installed."""

import numpy as np
import pytest
from npe2 import DynamicPlugin

from napari_tessera.core.errors import FileError
from napari_tessera.io import read_image, read_labels


@pytest.fixture
def read_as(tmp_path):
    """Install a reader for .strange files that gives the layers asked for."""
    with DynamicPlugin("strange-reader") as plugin:

        def install(*layers):
            @plugin.contribute.reader(filename_patterns=["*.strange"])
            def get_reader(path):
                return lambda _: list(layers)

            path = tmp_path / "a.strange"
            path.write_bytes(b"strange")
            return path

        yield install


def test_plugin_gives_pixels_size_and_unit(read_as):
    path = read_as((np.ones((3, 4, 5)), {"scale": (2, 1, 1), "units": ("micron",) * 3}, "image"))
    picture = read_image(path)
    assert (picture.axes, picture.data.shape) == ("ZYX", (3, 4, 5))
    assert (picture.spatial.scale, picture.spatial.unit) == ((2, 1, 1), "micrometer")


def test_plugin_says_where_the_channels_are(read_as):
    path = read_as((np.ones((2, 4, 5)), {"channel_axis": 0}, "image"))
    assert read_image(path).axes == "CYX"


def test_plugin_says_that_an_image_is_colour(read_as):
    path = read_as((np.ones((4, 5, 3), np.uint8), {"rgb": True}, "image"))
    assert read_image(path).axes == "YXC"


def test_plugin_layer_without_settings_is_an_image(read_as):
    assert read_image(read_as((np.ones((4, 5)),))).axes == "YX"


def test_largest_level_of_a_multiscale_layer_is_read(read_as):
    path = read_as(([np.ones((4, 6)), np.ones((2, 3))], {"multiscale": True}, "image"))
    assert read_image(path).data.shape == (4, 6)


def test_labels_are_picked_from_among_the_layers(read_as):
    path = read_as((np.ones((4, 5)), {}, "image"), (np.full((4, 5), 7), {}, "labels"))
    assert read_labels(path).data.max() == 7


def test_no_label_layer_is_said(read_as):
    with pytest.raises(FileError, match="no layer with labels"):
        read_labels(read_as((np.ones((4, 5)), {}, "image")))


def test_plugin_that_crashes_is_a_kind_error(tmp_path):
    with DynamicPlugin("broken-reader") as plugin:

        @plugin.contribute.reader(filename_patterns=["*.broken"])
        def get_reader(path):
            raise RuntimeError("the plugin is broken")

        (tmp_path / "a.broken").write_bytes(b"x")
        with pytest.raises(FileError, match="the plugin is broken"):
            read_image(tmp_path / "a.broken")


@pytest.mark.parametrize("name", ["a.py", "a.PY", "a.pyw"])
def test_program_is_refused_and_never_run(tmp_path, name):
    path = tmp_path / name
    path.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(FileError, match="is a program"):
        read_image(path)
    assert not (tmp_path / "ran").exists()


def test_file_without_layers_is_said(read_as):
    with pytest.raises(FileError, match="no layer with an image"):
        read_image(read_as((None,)))

"""The method `unet`: what it finds with a network written by hand, what it refuses, and that it replays."""

import shutil

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from skimage import data as samples

import napari_tessera as tessera
from napari_tessera.cli.main import main
from napari_tessera.core.errors import InputError, ModelError, ParameterError
from napari_tessera.core.jobs import run_job
from napari_tessera.engine import api
from napari_tessera.inference.normalization import measure_levels
from napari_tessera.methods.registry import method_named
from napari_tessera.models.registry import find
from napari_tessera.sample_data import nuclei_2d
from tests.helpers.tiny_models import save_bright


def two_squares(ndim=2, high=200):
    """A square on the left and a larger one on the right, on black."""
    plane = np.zeros((24, 40), np.uint8)
    plane[4:14, 4:14] = plane[8:20, 22:34] = high
    return plane if ndim == 2 else np.stack([0 * plane, *[plane] * 4, 0 * plane])


@pytest.fixture
def model(tmp_path):
    """A model that finds what is bright, of objects 10 px wide."""
    return str(save_bright(tmp_path / "bright.safetensors", task="objects", diameter_px=10.0))


@pytest.fixture
def volume_model(tmp_path):
    """The same for volumes."""
    return str(save_bright(tmp_path / "volumes.safetensors", ndim=3, task="objects", diameter_px=10.0))


@pytest.fixture
def two_channel_model(tmp_path):
    """A model for images of two channels, that looks at the first one."""
    fields = {"normalisation": {"kind": "channels"}, "channels": ["DNA", "actin"], "diameter_px": 10.0}
    return str(save_bright(tmp_path / "two.safetensors", n_channels=2, task="objects", **fields))


def test_bright_squares_are_objects(model):
    labels = tessera.unet(two_squares(), model=model)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, two_squares() // 200 * np.where(np.arange(40) < 20, 1, 2))


def test_dark_squares_on_a_bright_ground_are_found_alike(model):
    dark = 250 - two_squares()
    np.testing.assert_array_equal(tessera.unet(dark, model=model), tessera.unet(two_squares(), model=model))


def test_bright_objects_that_fill_the_image_are_found_when_said_to_be_bright(model):
    crowded = np.full((24, 40), 200, np.uint8)
    crowded[:, 19:22] = 10
    labels = tessera.unet(crowded, model=model, polarity="bright", diameter=20)
    assert (labels[:, 5] > 0).all()
    assert labels[:, 20].max() == 0
    assert tessera.unet(crowded, model=model, polarity="auto", diameter=20)[:, 5].max() == 0


def test_very_small_numbers_are_brightness_like_any_other(model):
    tiny = two_squares().astype(np.float32) * np.float32(1e-12)
    np.testing.assert_array_equal(tessera.unet(tiny, model=model), tessera.unet(two_squares(), model=model))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.int64])
def test_brightness_and_its_unit_do_not_matter(model, dtype):
    other = two_squares().astype(dtype) * 7 + 100
    np.testing.assert_array_equal(tessera.unet(other, model=model), tessera.unet(two_squares(), model=model))


@pytest.mark.parametrize("diameter", [5, 10, 20])
def test_at_another_scale_the_outlines_stay_within_a_pixel(model, diameter):
    labels = tessera.unet(two_squares(), model=model, diameter=diameter)
    assert labels.max() == 2
    assert (labels > 0).sum() == pytest.approx(244, rel=0.2)


def test_averaging_over_mirror_images_finds_the_same(model):
    averaged = tessera.unet(two_squares(), model=model, augment=True)
    np.testing.assert_array_equal(averaged, tessera.unet(two_squares(), model=model))


def test_small_tiles_find_the_same(model):
    np.testing.assert_array_equal(
        tessera.unet(two_squares(), model=model, tile_size=32), tessera.unet(two_squares(), model=model)
    )


def test_classes_are_background_and_object(model):
    np.testing.assert_array_equal(tessera.unet(two_squares(), model=model, output="classes"), two_squares() // 200)


def test_output_follows_what_the_model_was_trained_for(tmp_path, model):
    path = str(save_bright(tmp_path / "classes.safetensors", task="classes", classes=["ground", "square", "rim"]))
    result = tessera.segment("unet", two_squares(), model=path)
    assert (result.images[0].kind, result.provenance["parameters"]["output"]) == ("classes", "classes")
    assert set(result.table["class"]) <= {"square", "rim"}
    np.testing.assert_array_equal(tessera.unet(two_squares(), model=path), result.labels)
    np.testing.assert_array_equal(tessera.run(result.provenance, two_squares()).labels, result.labels)
    np.save(tmp_path / "squares.npy", two_squares())
    assert (
        main(["unet", str(tmp_path / "squares.npy"), "--model", path, "-o", str(tmp_path / "out.tif"), "--quiet"]) == 0
    )
    np.testing.assert_array_equal(tessera.io.read_labels(tmp_path / "out.tif").data, result.labels)
    assert tessera.segment("unet", two_squares(), model=path, output="objects").labels.max() == 2
    assert tessera.segment("unet", two_squares(), model=model).provenance["parameters"]["output"] == "objects"


def test_classes_have_their_names_in_the_table(model):
    table = tessera.segment("unet", two_squares(), model=model, output="classes").table
    assert (table["label"].tolist(), table["class"].tolist()) == ([1], ["blob"])
    assert "class" not in tessera.segment("unet", two_squares(), model=model).table


def test_probabilities_are_one_image_for_each_class_but_the_background(model):
    result = tessera.segment("unet", two_squares(), model=model, output="probabilities")
    assert [image.name for image in result.images] == ["blob"]
    assert result.images[0].kind == "probabilities"
    assert result.labels.dtype == np.float32
    np.testing.assert_array_equal(result.labels > 0.5, two_squares() > 0)
    assert tessera.unet(two_squares(), model=model, output="probabilities").shape == (1, 24, 40)


def test_probabilities_of_a_time_series_keep_its_axes(model):
    series = np.stack([two_squares(), two_squares()[::-1]], axis=-1)
    result = tessera.segment("unet", series, axes="YXT", model=model, output="probabilities")
    assert result.labels.shape == (24, 40, 2)
    np.testing.assert_array_equal(result.labels > 0.5, series > 0)


def test_probabilities_outside_a_region_are_0(model):
    region = tessera.Region(planes={"Z": 2}, polygons=(np.array([[0, 0], [0, 18], [23, 18], [23, 0]]),))
    result = tessera.segment("unet", two_squares(3), model=model, output="probabilities", region=region)
    assert result.labels.shape == (6, 24, 40)
    assert np.argwhere(result.labels > 0.5)[:, 0].tolist() == [2] * 100


@pytest.mark.parametrize("volume", ["stitch", "orthogonal"])
def test_volumes_are_segmented_by_a_model_for_planes(model, volume):
    labels = tessera.unet(two_squares(3), model=model, volume=volume)
    np.testing.assert_array_equal(labels > 0, two_squares(3) > 0)
    assert labels.max() == 2


@pytest.mark.parametrize("volume", ["stitch", "orthogonal"])
def test_volumes_whose_planes_are_far_apart_keep_their_shape(model, volume):
    labels = tessera.unet(two_squares(3), model=model, volume=volume, spacing=(3, 1, 1))
    assert (labels == tessera.unet(two_squares(3), model=model)).mean() > 0.97


@pytest.mark.parametrize("volume", ["stitch", "orthogonal"])
def test_probabilities_of_volumes(model, volume):
    found = tessera.unet(two_squares(3), model=model, volume=volume, output="probabilities")
    assert found.shape == (1, 6, 24, 40)
    np.testing.assert_array_equal(found[0] > 0.5, two_squares(3) > 0)


def test_smallest_size_in_a_stack_counts_voxels(model):
    assert tessera.unet(two_squares(3), model=model, min_size=400).max() == 2
    assert tessera.unet(two_squares(3), model=model, min_size=401).max() == 1


def test_objects_that_hardly_overlap_from_plane_to_plane_are_linked_only_if_so_wanted(model):
    leaning = np.stack([np.roll(two_squares()[:, :20], 5 * plane, axis=1) for plane in range(2)])
    assert tessera.unet(leaning, model=model, stitch_threshold=0.5).max() == 2
    assert tessera.unet(leaning, model=model, stitch_threshold=0.25).max() == 1


def test_a_model_for_volumes_sees_the_whole_volume(volume_model):
    labels = tessera.unet(two_squares(3), model=volume_model)
    np.testing.assert_array_equal(labels > 0, two_squares(3) > 0)
    assert labels.max() == 2


def test_a_model_for_volumes_refuses_a_plane(volume_model):
    with pytest.raises(InputError, match="is for volumes"):
        tessera.unet(two_squares(), model=volume_model)


def test_colours_are_shown_together_and_a_channel_alone(model):
    red = np.stack([two_squares(), *[np.zeros((24, 40), np.uint8)] * 2])
    red[1, :8, :8] = 200
    assert tessera.unet(red, model=model, channel_axis=0).max() == 2
    assert tessera.unet(red, model=model, channel_axis=0, channel=1).tolist() == (red[1] // 200).tolist()


@pytest.mark.parametrize("blocks", [None, 32])
def test_stains_shown_all_together_are_worth_a_word(model, blocks):
    stains = np.zeros((24, 40, 3), np.uint8)
    stains[..., 0], stains[4:8, :, 1] = two_squares(), 90

    def notes(image, **settings):
        return tessera.segment("unet", image, axes="YXC", model=model, diameter=10, blocks=blocks, **settings).notes

    assert "the mean of 2 channels" in notes(stains[..., :2])[0]
    assert notes(stains[..., :2], channel=0) == ()
    assert notes(stains) == ()  # the model knows colours


def test_bright_colours_are_worth_a_word_where_the_model_sees_the_brightest():
    image = nuclei_2d()[0][:100, :100]
    colours = np.stack([image // 3, image // 4, image], axis=-1)
    grey = np.stack([image] * 3, axis=-1)
    for method in ("unet", "mask_rcnn"):
        assert "the brightest of red, green and blue" in tessera.segment(method, colours, axes="YXC").notes[0]
        for result in (
            tessera.segment(method, colours, axes="YXC", channel=2),
            tessera.segment(method, grey, axes="YXC"),
        ):
            assert not any("the brightest" in note for note in result.notes)


@pytest.mark.parametrize("blocks", [None, 32])
def test_a_volume_that_looks_alike_from_all_sides_is_worth_a_word(model, volume_model, blocks):
    def notes(n_planes=12, depth=1.0, **settings):
        stack = np.repeat(two_squares()[None], n_planes, axis=0)
        given = {"model": model, "diameter": 10, "blocks": blocks, "spacing": (depth, 1.0, 1.0)} | settings
        return tessera.segment("unet", stack, axes="ZYX", **given).notes

    assert "`volume` orthogonal" in notes()[0]
    assert notes(n_planes=11) == notes(depth=2.0) == notes(output="classes") == notes(volume="orthogonal") == ()
    assert notes(model=volume_model) == ()


def test_the_model_for_nuclei_in_planes_names_the_one_for_volumes():
    stack = np.repeat(two_squares()[None], 12, axis=0)

    def notes(**settings):
        return tessera.segment("unet", stack, axes="ZYX", model="nuclei-unet", diameter=10, **settings).notes

    assert "'nuclei-3d'" in notes(spacing=(2.0, 1.0, 1.0))[0]
    assert not any("nuclei-3d" in note for note in notes(volume="orthogonal"))
    assert find("nuclei-3d").ndim == 3


def test_channels_that_are_no_colours_are_shown_as_their_mean(model):
    both = np.zeros((24, 40, 2), np.uint8)
    both[..., 0], both[..., 1] = two_squares(), two_squares()
    np.testing.assert_array_equal(
        tessera.unet(both, model=model, channel_axis=2), tessera.unet(two_squares(), model=model)
    )


def test_a_model_for_two_channels_takes_both(two_channel_model):
    both = np.stack([two_squares(), np.zeros((24, 40), np.uint8)])
    assert tessera.unet(both, model=two_channel_model, channel_axis=0).max() == 2


def test_a_model_for_two_channels_refuses_another_number_naming_both(two_channel_model):
    with pytest.raises(InputError, match=r"takes 2 channels \(DNA, actin\), but the image has 3"):
        tessera.unet(np.zeros((3, 24, 40)), model=two_channel_model, channel_axis=0)
    with pytest.raises(InputError, match="but the image has 1"):
        tessera.unet(two_squares(), model=two_channel_model)


def test_a_name_nearly_right_is_answered_with_the_right_one():
    with pytest.raises(ParameterError, match="Did you mean 'nuclei-unet'") as raised:
        tessera.unet(two_squares(), model="nuclei-net")
    assert raised.value.parameter == "model"


def test_a_damaged_model_is_refused_before_any_work(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"no model")
    with pytest.raises(ModelError, match="bad"):
        tessera.segment("unet", two_squares(), model=str(tmp_path / "bad.safetensors"))


@pytest.mark.parametrize("diameter", [1, 200])
def test_a_diameter_that_no_object_can_have_is_refused(model, diameter):
    with pytest.raises(ParameterError, match=r"can be 1.25 to 80 px"):
        tessera.unet(two_squares(), model=model, diameter=diameter)


def test_a_diameter_means_nothing_to_a_model_that_knows_no_size(tmp_path):
    path = save_bright(tmp_path / "classes.safetensors", task="classes", classes=["ground", "a", "b"])
    with pytest.raises(ParameterError, match="knows no size"):
        tessera.unet(two_squares(), model=str(path), diameter=10)


def test_the_record_names_the_model_and_replays_bit_for_bit(model):
    result = tessera.segment("unet", two_squares(), model=model)
    assert result.provenance["model"]["name"] == "bright"
    assert len(result.provenance["model"]["sha256"]) == 64
    np.testing.assert_array_equal(tessera.run(result.provenance, two_squares()).labels, result.labels)


def test_a_replay_refuses_another_file_of_the_same_name(model):
    record = tessera.segment("unet", two_squares(), model=model).provenance
    save_bright(model, task="objects", diameter_px=11.0)
    with pytest.raises(ModelError, match="'bright'"):
        tessera.run(record, two_squares())
    assert tessera.run({**record, "model": None}, two_squares()).labels.max() == 2


def test_a_replay_finds_the_model_under_another_name(model, own_models):
    result = tessera.segment("unet", two_squares(), model=model)
    own_models.mkdir(parents=True)
    shutil.move(model, own_models / "renamed.safetensors")
    np.testing.assert_array_equal(tessera.run(result.provenance, two_squares()).labels, result.labels)


def test_the_parameter_says_that_it_is_the_name_of_a_model():
    named = {parameter.name: parameter.model for parameter in method_named("unet").parameters}
    assert named["model"].kind == "unet"
    assert named["output"] is None


@pytest.fixture
def image_file(tmp_path):
    """The squares as a file."""
    tifffile.imwrite(tmp_path / "squares.tif", two_squares())
    return str(tmp_path / "squares.tif")


def test_command_line_writes_probabilities_as_floats(model, image_file, tmp_path):
    out = tmp_path / "out.tif"
    assert main(["unet", image_file, "-o", str(out), "--model", model, "--output", "probabilities"]) == 0
    written = tifffile.imread(out)
    assert written.dtype == np.float32
    np.testing.assert_array_equal(written > 0.5, two_squares() > 0)


def test_command_line_refuses_what_cannot_hold_probabilities(model, image_file, tmp_path, capsys):
    out = str(tmp_path / "out.png")
    assert main(["unet", image_file, "-o", out, "--model", model, "--output", "probabilities"]) == 2
    assert "PNG holds whole numbers" in capsys.readouterr().err


def test_command_line_names_the_nearest_model(image_file, tmp_path, capsys):
    assert main(["unet", image_file, "-o", str(tmp_path / "out.tif"), "--model", "nuclei-net"]) == 2
    assert "Did you mean 'nuclei-unet'" in capsys.readouterr().err


def test_nothing_found_names_settings_that_the_method_has(model):
    (note,) = tessera.segment("unet", two_squares(), model=model, min_size=9999).notes
    assert note == "Nothing was found: every label is 0. Check `diameter`, `threshold`, `polarity` and `model`."


def test_record_names_the_model_that_was_there_at_the_start(model, tmp_path):
    before = find(model).sha256()
    running = api.job(api.bind("unet", two_squares(), model=model))
    while next(running).text != "Recording":
        pass
    shutil.copy(save_bright(tmp_path / "other.safetensors", task="objects", diameter_px=11.0), model)
    result = run_job(running)
    assert result.provenance["model"]["sha256"] == before != find(model).sha256()
    assert "was replaced or removed during the run" in result.notes[0]


def test_something_far_brighter_than_the_objects_is_named_and_the_objects_are_found_as_before():
    image = nuclei_2d()[0].astype(np.float32)
    plain = tessera.segment("unet", image)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    thing = np.hypot(y - 30, x - 30) < np.sqrt(0.003 * image.size / np.pi)
    found = tessera.segment("unet", np.where(thing, 20 * image.max(), image))
    assert any("times as bright as the objects" in note for note in found.notes)
    assert not any("bright" in note for note in plain.notes)
    outside = np.hypot(y - 30, x - 30) > 60
    scores = tessera.evaluate(np.where(outside, plain.labels, 0), np.where(outside, found.labels, 0), thresholds=(0.5,))
    assert scores["ap"]["0.50"] > 0.95


def test_an_image_unlike_the_training_is_told_and_one_like_it_is_not():
    y, x = np.mgrid[:160, :160]
    for foreign in (samples.brick()[:256, :256], 255 * ((y // 20 + x // 20) % 2).astype(np.uint8)):
        found = tessera.segment("unet", foreign)
        assert found.labels.any()
        assert any("does not look like the training images" in note for note in found.notes)
    assert not any("does not look like" in note for note in tessera.segment("unet", nuclei_2d()[0]).notes)


@pytest.mark.parametrize("blocks", [False, 128])
def test_padding_changes_neither_the_brightness_nor_the_objects(blocks):
    image = nuclei_2d()[0].astype(np.float32) + 500
    margin = 24
    padded = np.pad(image, margin)
    found = tessera.segment("unet", padded, blocks=blocks, diameter=20)
    inner = (slice(margin, -margin),) * 2
    assert not np.delete(found.labels, np.s_[margin:-margin], axis=0).any()
    plain = tessera.segment("unet", image, diameter=20).labels
    assert tessera.evaluate(plain, found.labels[inner], thresholds=(0.5,))["ap"]["0.50"] > 0.9
    assert any("not image" in note for note in found.notes)


def test_levels_are_measured_where_the_image_is_valid():
    image = nuclei_2d()[0]
    wrong = np.where(np.arange(image.shape[1]) < 40, image.max() * 50, image)
    valid = np.broadcast_to(np.arange(image.shape[1]) >= 40, image.shape)
    assert measure_levels(wrong, valid=valid) == measure_levels(image[:, 40:])


@pytest.mark.parametrize("size", [0.4, 1, 2, 8])
def test_the_diameter_is_found_whatever_the_magnification(size):
    image, truth = (array[:160, :160] for array in nuclei_2d()[:2])
    sizes = np.sort(np.bincount(truth.ravel())[1:])
    half = sizes[np.searchsorted(sizes.cumsum(), sizes.sum() / 2)]
    true_px = size * 2 * np.sqrt(half / np.pi)
    wide = ndimage.zoom(image.astype(np.float32), size, order=1)
    found = tessera.segment("unet", wide).provenance["chosen"]["diameter_px"]
    assert found == pytest.approx(true_px, rel=0.2)

"""The watershed as a whole."""

import itertools
import re

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import napari_tessera as tessera
from napari_tessera.core.errors import InputError, ParameterError
from napari_tessera.core.jobs import run_job
from napari_tessera.methods.watershed import reach, watershed
from napari_tessera.sample_data import nuclei_2d

TWO_DISCS = np.zeros((15, 26), np.uint8)
for centre in (7, 18):
    rows, columns = np.indices(TWO_DISCS.shape)
    TWO_DISCS[(rows - 7) ** 2 + (columns - centre) ** 2 <= 36] = 100
"""Two discs of radius 6 that touch; the neck is at column 12 and 13."""

PLAIN = {"foreground": "otsu", "sigma": 0.0, "max_hole_size": 0, "min_size": 0}


def labels_of(image, *inputs, **parameters):
    return run_job(watershed(np.asarray(image), *inputs, **(PLAIN | parameters))).labels


def test_two_touching_discs_become_two_objects_that_meet_at_the_neck():
    labels = labels_of(TWO_DISCS)
    assert labels.max() == 2
    np.testing.assert_array_equal(labels[:, :12], TWO_DISCS[:, :12] > 0)
    np.testing.assert_array_equal(labels[:, 14:], 2 * (TWO_DISCS[:, 14:] > 0))


def test_defaults_part_touching_discs():
    assert run_job(watershed(TWO_DISCS)).labels.max() == 2


def test_touching_balls_are_parted_in_3d_with_flat_voxels():
    z, y, x = np.indices((9, 21, 36))
    balls = [(2 * (z - 4)) ** 2 + (y - 10) ** 2 + (x - centre) ** 2 <= 64 for centre in (10, 25)]
    image = np.where(balls[0] | balls[1], 100, 0).astype(np.uint16)
    labels = labels_of(image, spacing=(2.0, 1.0, 1.0))
    assert labels.max() == 2
    assert labels[4, 10, 10] == 1
    assert labels[4, 10, 25] == 2


def test_dark_objects_are_those_of_the_inverted_image():
    np.testing.assert_array_equal(labels_of(200 - TWO_DISCS, polarity="dark"), labels_of(TWO_DISCS))


def test_points_say_how_many_objects_there_are():
    labels = labels_of(TWO_DISCS, np.array([[7.0, 7.0]]))
    np.testing.assert_array_equal(labels, TWO_DISCS > 0)


def test_a_note_counts_the_markers_outside_the_foreground():
    points = np.array([[7.0, 7.0], [0.0, 0.0], [7.0, 18.0]])
    result = tessera.segment("watershed", TWO_DISCS, markers=points, **PLAIN)
    assert result.notes == ("1 of 3 markers lies outside the foreground and was not used.",)
    assert result.labels.max() == 2
    painted = np.zeros(TWO_DISCS.shape, np.int32)
    painted[0, 0], painted[7, 0:9], painted[14, 25] = 8, 5, 9
    result = tessera.segment("watershed", TWO_DISCS, markers=painted, **PLAIN)
    assert result.notes == ("2 of 3 markers lie outside the foreground and were not used.",)
    assert not tessera.segment("watershed", TWO_DISCS, markers=points[::2], **PLAIN).notes


@pytest.mark.parametrize("blocks", [9, 16])
def test_blocks_count_the_same_markers_outside_the_foreground(blocks):
    image = np.tile(TWO_DISCS, (3, 2))
    points = np.array([[7.0, 7.0], [0.0, 0.0], [44.0, 0.0], [15.0, 26.0], [37.0, 44.0]])
    painted = np.zeros(image.shape, np.int32)
    painted[0], painted[7, 2:40], painted[44, 0] = 3, 4, 5
    for markers in (points, painted):
        whole, cut = (tessera.segment("watershed", image, markers=markers, blocks=b, **PLAIN) for b in (None, blocks))
        assert "outside the foreground" in whole.notes[0]
        assert cut.notes == whole.notes


def test_painted_markers_say_which_pixels_begin():
    painted = np.zeros(TWO_DISCS.shape, np.int32)
    painted[7, 5], painted[7, 9], painted[7, 18] = 8, 5, 8
    labels = labels_of(TWO_DISCS, painted)
    assert labels.max() == 2
    assert labels[7, 4] == labels[7, 20] != labels[7, 9]


def test_marker_on_the_background_has_no_object():
    assert labels_of(TWO_DISCS, np.array([[0.0, 0.0], [7.0, 7.0]])).max() == 1


@pytest.mark.parametrize(
    "empty", [np.empty((0, 2)), np.zeros(TWO_DISCS.shape, np.int32), []], ids=["no points", "no paint", "empty list"]
)
def test_empty_markers_mean_that_markers_are_found(empty):
    result = tessera.segment("watershed", TWO_DISCS, markers=empty, **PLAIN)
    np.testing.assert_array_equal(result.labels, labels_of(TWO_DISCS))
    assert result.notes == ("`markers` holds no point and no painted pixel, so it counts as not given.",)


def test_frame_without_markers_has_no_objects_if_another_frame_has_some():
    film = np.stack([TWO_DISCS, TWO_DISCS])
    labels = tessera.segment("watershed", film, axes="TYX", markers=np.array([[1, 7, 7], [1, 7, 18]]), **PLAIN).labels
    assert not labels[0].any()
    assert labels[1].max() == 2


def test_mask_is_the_foreground():
    mask = np.zeros(TWO_DISCS.shape, np.int32)
    mask[2:5, 2:5] = 4
    np.testing.assert_array_equal(labels_of(TWO_DISCS, None, mask, foreground="mask"), mask > 0)


def test_missing_mask_is_refused():
    with pytest.raises(InputError, match="mask"):
        labels_of(TWO_DISCS, foreground="mask")


def test_missing_channel_is_refused():
    with pytest.raises(ParameterError, match="channel"):
        labels_of(TWO_DISCS, channel=3)


def test_whole_image_is_shared_out_among_the_points():
    labels = labels_of([[9, 9, 1, 9, 9]], np.array([[0, 0], [0, 4]]), foreground="whole", landscape="intensity")
    assert labels.tolist() == [[1, 1, 1, 2, 2]]


def test_level_overrules_the_rule():
    image = np.array([[0, 40, 0, 100]], np.uint8)
    assert labels_of(image).tolist() == [[0, 0, 0, 1]]
    assert labels_of(image, threshold=30.0).tolist() == [[0, 1, 0, 2]]


def test_level_is_in_the_units_of_the_image_whatever_its_dtype():
    image = np.array([[1e6, 1e6 + 40, 1e6, 1e6 + 100]])
    assert labels_of(image, threshold=1e6 + 30).tolist() == [[0, 1, 0, 2]]


def test_bright_object_does_not_hide_a_dim_one_from_the_local_level():
    image = np.full((30, 60), 10, np.uint8)
    image[8:20, 8:20], image[8:20, 40:52] = 250, 60
    assert labels_of(image, foreground="otsu").max() == 1
    assert labels_of(image, foreground="local", threshold=90.0).max() == 2


def test_prominence_merges_shallow_hills():
    bumpy = [[0, 90, 85, 88, 20, 95, 0]]
    options = {"landscape": "intensity", "min_distance": 0.0, "foreground": "mask"}
    mask = np.array([[0, 1, 1, 1, 1, 1, 0]])
    assert labels_of(bumpy, None, mask, prominence=0.0, **options).tolist() == [[0, 1, 1, 2, 2, 3, 0]]
    assert labels_of(bumpy, None, mask, prominence=0.1, **options).tolist() == [[0, 1, 1, 1, 1, 2, 0]]


def test_gradient_landscape_parts_at_the_edges():
    image = np.repeat([[10, 10, 10, 10, 90, 90, 90, 90]], 4, 0)
    labels = labels_of(image, np.array([[1, 0], [1, 7]]), foreground="whole", landscape="gradient")
    np.testing.assert_array_equal(labels[:, :4], 1)
    np.testing.assert_array_equal(labels[:, 5:], 2)


@pytest.mark.parametrize("compactness", [0.0, 0.5, 1.0])
def test_watershed_line_is_background(compactness):
    labels = labels_of(TWO_DISCS, watershed_line=True, compactness=compactness)
    assert labels.max() == 2
    assert ((labels == 0) & (TWO_DISCS > 0)).any()
    assert not ((labels[:, :-1] == 1) & (labels[:, 1:] == 2)).any()


def test_small_holes_are_filled_and_large_ones_are_not():
    image = np.full((9, 16), 100, np.uint8)
    image[0] = image[-1] = image[:, 0] = image[:, -1] = 0
    image[3, 3] = image[3:6, 8:12] = 0
    labels = labels_of(image, max_hole_size=2, prominence=1.0, min_distance=30.0)
    assert labels[3, 3] == 1
    assert not labels[3:6, 8:12].any()


def test_gap_at_the_edge_of_the_image_is_no_hole():
    assert labels_of([[100, 0, 100], [100, 100, 100]], max_hole_size=9)[0, 1] == 0


def test_small_objects_are_dropped_and_the_others_renumbered():
    assert labels_of([[9, 0, 9, 9, 0, 9, 9]], min_size=2).tolist() == [[0, 0, 1, 1, 0, 2, 2]]


def test_channel_is_chosen():
    image = np.stack([TWO_DISCS, np.zeros_like(TWO_DISCS)])
    np.testing.assert_array_equal(labels_of(image, channel=0, channel_axis=0), labels_of(TWO_DISCS))
    assert not labels_of(image, channel=1, channel_axis=0).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 8), (8, 1), (1, 5, 5), (5, 1, 1)])
@pytest.mark.parametrize("foreground", ["local", "otsu"])
@pytest.mark.parametrize("landscape", ["distance", "intensity", "gradient"])
def test_constant_images_are_background(shape, foreground, landscape):
    assert not run_job(watershed(np.full(shape, 7, np.uint8), foreground=foreground, landscape=landscape)).labels.any()


@pytest.mark.parametrize("landscape", ["distance", "intensity", "gradient"])
def test_whole_constant_image_is_one_object(landscape):
    labels = labels_of(np.full((6, 7), 3.0), foreground="whole", landscape=landscape, prominence=0.5)
    assert labels.max() == 1
    assert labels.all()


def test_whole_range_of_float64_works():
    image = np.where(TWO_DISCS > 0, 1.7e308, -1.7e308)
    np.testing.assert_array_equal(run_job(watershed(image)).labels, run_job(watershed(TWO_DISCS)).labels)


def test_inputs_are_not_changed():
    image, painted = TWO_DISCS.astype(np.float32), np.eye(15, 26, dtype=np.int32)
    before = image.copy(), painted.copy()
    labels_of(image, painted, polarity="dark")
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(painted, before[1])


def test_closing_the_job_half_way_is_clean():
    job = watershed(np.tile(TWO_DISCS, (4, 4)))
    for _ in range(12):
        next(job)
    job.close()
    assert labels_of(TWO_DISCS).max() == 2


def test_progress_never_goes_back():
    steps = [step.fraction for step in watershed(np.tile(TWO_DISCS, (4, 4)))]
    assert steps == sorted(steps)


def test_reach_follows_the_distance_between_markers():
    assert reach(min_distance=100.0) > reach(min_distance=5.0)


def test_who_gives_a_mask_wants_the_foreground_of_the_mask():
    mask = np.zeros((6, 8), np.int32)
    mask[2:4, 2:5] = 1
    image = np.full((6, 8), 7, np.uint8)
    result = tessera.segment("watershed", image, mask=mask, min_size=0)
    assert result.provenance["parameters"]["foreground"] == "mask"
    np.testing.assert_array_equal(result.labels, mask)


def noisy_discs(bright: float = 0.0) -> np.ndarray:
    """Six discs of 100 on noise around 20, and a small square that is so many times as bright as they are."""
    y, x = np.mgrid[:120, :180]
    image = np.random.default_rng(0).normal(20, 3, y.shape)
    for at in range(6):
        image += 100 * (np.hypot(y - 30 - 60 * (at % 2), x - 30 - 60 * (at // 2)) < 12)
    image[56:64, 56:64] += 100 * bright
    return image.astype(np.float32)


@pytest.mark.parametrize("times", [5, 10, 20])
@pytest.mark.parametrize("method", ["watershed", "threshold"])
def test_a_thing_that_is_far_too_bright_hides_no_object_and_is_named(method, times):
    settings = {"output": "objects", "sigma": 1.0} if method == "threshold" else {}
    plain = tessera.segment(method, noisy_discs(), axes="YX", **settings)
    result = tessera.segment(method, noisy_discs(times), axes="YX", **settings)
    assert plain.labels.max() == 6
    assert plain.notes == ()
    assert result.labels.max() == 7
    assert 0.7 * times <= float(re.search(r"about (\d+) times as bright as the objects", result.notes[0])[1]) <= times
    np.testing.assert_array_equal(result.labels[:, 80:] > 0, plain.labels[:, 80:] > 0)


def too_bright(
    times: float = 0, radius: float = 0, pixels: int = 0, bar: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Make something far too bright in a dense image of nuclei that differ in brightness; (image, truth)."""
    image, truth, *_ = nuclei_2d()
    if times:
        image = np.where(truth == 30, np.minimum(image * times, 65535), image).astype(np.uint16)
    y, x = np.mgrid[:256, :256]
    image[np.hypot(y - 130, x - 130) < radius] = 12000
    rows, columns = np.random.default_rng(3).integers(0, 256, (pixels, 2)).T
    image[rows, columns] = 65535
    if bar:
        image[235:240, 180:240] = 65535
    return image, truth


@pytest.mark.parametrize("method", ["watershed", "threshold"])
@pytest.mark.parametrize(
    "what", [{"times": 4}, {"times": 5}, {"times": 10}, {"times": 50}, {"radius": 8}, {"pixels": 60}, {"bar": True}]
)
def test_a_far_too_bright_thing_hides_no_object_of_a_dense_image(method, what):
    image, truth = too_bright(**what)
    settings = {"output": "objects", "min_size": 30} if method == "threshold" else {}
    plain = tessera.segment(method, too_bright()[0], axes="YX", **settings)
    result = tessera.segment(method, image, axes="YX", **settings)
    before, now = (tessera.evaluate(truth, found.labels, thresholds=(0.5,))["ap"]["0.50"] for found in (plain, result))
    assert now > before - 0.05
    assert plain.notes == ()
    assert "times as bright as the objects" in result.notes[0]


@pytest.mark.parametrize("glow", ["blurred", "clipped"])
def test_a_few_objects_on_a_glow_or_on_a_clipped_background_are_no_bright_things(glow):
    y, x = np.mgrid[:200, :200]
    objects = (np.hypot(y - 60, x - 70) < 7) | (np.hypot(y - 140, x - 120) < 7)
    noise = np.random.default_rng(0).normal(0, 1, y.shape)
    background = 20 + noise + 100 * gaussian_filter(objects.astype(float), 15) if glow == "blurred" else noise.clip(0)
    result = tessera.segment("threshold", (background + 100 * objects).astype(np.float32), axes="YX", output="objects")
    assert result.labels.max() == 2
    assert result.notes == ()


@pytest.mark.parametrize("method", ["watershed", "threshold"])
@pytest.mark.parametrize("noise", ["normal", "poisson"])
def test_an_image_of_noise_is_said_to_hold_nothing_that_stands_out(method, noise):
    image = getattr(np.random.default_rng(1), noise)(20, size=(200, 200)).astype(np.float32)
    assert "Hardly anything stands out" in tessera.segment(method, image, axes="YX").notes[0]


def textured_discs(radius: int) -> np.ndarray:
    """Nine large discs with coarse and fine texture, on dim noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: 8 * radius, : 8 * radius]
    texture = gaussian_filter(rng.normal(0, 1, y.shape), 3) * 6 + rng.normal(0, 0.25, y.shape)
    inside = np.zeros(y.shape, bool)
    for row, column in itertools.product((1.4, 4.0, 6.6), repeat=2):
        inside |= np.hypot(y - row * radius, x - column * radius) < radius
    return (np.where(inside, 40 * np.exp(0.3 * texture), 0) + rng.normal(5, 1, y.shape)).astype(np.float32)


def test_large_textured_objects_are_not_cut_into_pieces():
    result = tessera.segment("watershed", textured_discs(60), axes="YX")
    middles = np.array(list(itertools.product((84, 240, 396), repeat=2)))
    assert len(set(result.labels[tuple(middles.T)].tolist()) - {0}) == 9
    assert result.labels.max() == 9
    assert result.provenance["chosen"]["sigma"] > 2


def test_blocks_have_the_automatic_values_of_the_whole_image():
    image = textured_discs(60)
    whole, blocks = (tessera.segment("watershed", image, axes="YX", blocks=size) for size in (False, 128))
    assert blocks.provenance["chosen"] == whole.provenance["chosen"]
    assert np.asarray(blocks.labels).max() == whole.labels.max()
    assert ((np.asarray(blocks.labels) > 0) == (whole.labels > 0)).mean() > 0.99

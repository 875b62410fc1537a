import numpy as np
import pytest
from scipy import ndimage
from skimage.segmentation import flood

from napari_tessera.core.errors import ParameterError
from napari_tessera.core.jobs import run_job
from napari_tessera.methods.region_growing import region_growing

# Two plateaus of 50 and 90 on 10, with a step of 60 between them.
IMAGE = np.array(
    [
        [10, 10, 10, 10, 10, 10, 10],
        [10, 50, 50, 60, 90, 90, 10],
        [10, 50, 50, 60, 90, 90, 10],
        [10, 10, 10, 10, 10, 10, 10],
    ],
    np.uint8,
)
IN_50, IN_90 = [1.0, 1.0], [1.0, 5.0]


def grown(image, seeds, **parameters):
    return run_job(region_growing(np.asarray(image), np.asarray(seeds), **{"sigma": 0.0, **parameters}))


def test_tolerance_is_a_fraction_of_the_images_range():
    # The range is 80, so 0.125 is 10: 60 is reached from 50, 90 is not.
    labels, _ = grown(IMAGE, [IN_50], tolerance=0.125)
    assert (labels > 0).tolist() == ((IMAGE == 50) | (IMAGE == 60)).tolist()


def test_a_tolerance_of_zero_takes_equal_pixels_only():
    labels, _ = grown(IMAGE, [IN_50], tolerance=0.0)
    assert (labels > 0).tolist() == (IMAGE == 50).tolist()


def test_tolerance_gives_the_connected_band_around_the_seed():
    image = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(60, 80)), 3)
    labels, _ = grown(image, [[30, 40]], tolerance=0.2)
    expected = flood(image, (30, 40), tolerance=0.2 * np.ptp(image), connectivity=1)
    assert (labels > 0).tolist() == expected.tolist()


def test_regions_do_not_cross_corners_unless_connectivity_says_so():
    image = np.array([[1, 0], [0, 1]])
    assert grown(image, [[0, 0]])[0].tolist() == [[1, 0], [0, 0]]
    assert grown(image, [[0, 0]], connectivity=2)[0].tolist() == [[1, 0], [0, 1]]


def test_points_are_numbered_from_one_in_the_table():
    labels, table = grown(IMAGE, [IN_90, IN_50])
    assert labels[1, 1] == 1
    assert table["seed"].tolist() == [2, 1]


def test_painted_seeds_keep_their_number_in_the_table():
    painted = np.zeros(IMAGE.shape, np.int32)
    painted[1, 5], painted[1, 1] = 7, 9
    labels, table = grown(IMAGE, painted)
    assert (labels[1, 1], labels[1, 5]) == (1, 2)
    assert table["seed"].tolist() == [9, 7]


def test_one_number_painted_twice_is_one_seed():
    painted = np.zeros(IMAGE.shape, np.int32)
    painted[1, 1] = painted[1, 2] = 4
    _, table = grown(IMAGE, painted, tolerance=0.0)
    assert table["num_seed_pixels"].tolist() == [2]
    assert table["num_grown_pixels"].tolist() == [2]


def test_a_seed_without_similar_neighbours_stays_as_it_is_and_is_reported():
    image = np.array([[0, 9, 0]])
    labels, table = grown(image, [[0, 1]])
    assert labels.tolist() == [[0, 1, 0]]
    assert table["num_grown_pixels"].tolist() == [0]


def test_two_seeds_on_one_plateau_share_it_and_say_so():
    labels, table = grown(np.zeros((1, 6)), [[0, 0], [0, 5]])
    assert labels.tolist() == [[1, 1, 1, 2, 2, 2]]
    assert table["num_contested_pixels"].tolist() == [1, 1]
    assert table["shared_with"].tolist() == [2, 1]


def test_regions_that_touch_without_wanting_each_others_pixels_contest_nothing():
    _, table = grown([[0, 0, 9, 9]], [[0, 0], [0, 3]])
    assert table["num_contested_pixels"].tolist() == [0, 0]
    assert table["shared_with"].tolist() == [0, 0]


def test_a_pixel_that_two_seeds_accept_goes_to_the_more_similar_one():
    labels, _ = grown([[0, 6, 10]], [[0, 0], [0, 2]], tolerance=0.7)
    assert labels.tolist() == [[1, 2, 2]]


def test_a_point_on_the_pixel_of_another_is_absorbed_and_reported():
    _, table = grown(IMAGE, [IN_50, IN_90, [1.2, 0.9]])
    assert table["seed"].tolist() == [1, 2]
    assert table["absorbed_seeds"].tolist() == ["3", ""]


def test_no_seeds_give_no_objects():
    labels, table = grown(IMAGE, np.empty((0, 2)))
    assert not labels.any()
    assert len(table["label"]) == 0


def test_the_largest_size_stops_a_region():
    labels, table = grown(np.zeros((5, 5)), [[2, 2]], max_size=7)
    assert np.count_nonzero(labels) == 7
    assert table["is_full"].tolist() == [True]


def test_what_a_full_region_leaves_goes_to_the_other():
    labels, _ = grown(np.zeros((1, 6)), [[0, 0], [0, 1]], max_size=2)
    assert labels.tolist() == [[1, 2, 2, 0, 0, 0]]


def test_adaptive_takes_the_noise_of_its_own_region_only():
    rng = np.random.default_rng(0)
    truth = np.zeros((40, 40), bool)
    truth[10:30, 10:30] = True
    image = np.where(truth, 100, 0) + rng.normal(0, 5, truth.shape)
    labels, _ = grown(image, [[20, 20]], criterion="adaptive", k=4.0)
    assert (labels > 0).tolist() == truth.tolist()


def test_adaptive_on_a_constant_image_takes_all():
    labels, _ = grown(np.full((3, 4), 7), [[1, 1]], criterion="adaptive")
    assert labels.all()


def test_adaptive_regions_stand_still_within_their_own_band():
    image = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(50, 50)), 2)
    labels, _ = grown(image, [[25, 25]], criterion="adaptive", k=2.0)
    inside = image[labels > 0]
    band = np.abs(image - inside.mean()) <= 2.0 * inside.std() + 1e-5
    expected, _ = ndimage.label(band)
    assert (labels > 0).tolist() == (expected == expected[25, 25]).tolist()


def test_an_adaptive_region_crowded_out_by_another_keeps_what_it_accepts():
    # Both bands end up wide enough for all; measured on the few pixels left to it, either would shrink to nothing.
    image = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(50, 50)), 2)
    labels, table = grown(image, [[25, 25], [5, 5]], criterion="adaptive", k=2.5)
    assert np.count_nonzero(labels) > 0.9 * labels.size
    assert (table["num_grown_pixels"] > 0).all()


def test_competing_regions_share_out_the_whole_image():
    labels, _ = grown(IMAGE, [IN_50, IN_90, [0, 0]], criterion="competing")
    assert (labels == labels[1, 1]).tolist() == ((IMAGE == 50) | (IMAGE == 60)).tolist()
    assert (labels == labels[1, 5]).tolist() == (IMAGE == 90).tolist()
    assert (labels == labels[0, 0]).tolist() == (IMAGE == 10).tolist()


def test_the_background_seed_grows_as_the_others_do_and_is_no_object():
    labels, table = grown(IMAGE, [IN_50, IN_90, [0, 0]], criterion="competing", background=3)
    assert (labels > 0).tolist() == (IMAGE > 10).tolist()
    assert table["seed"].tolist() == [1, 2]


def test_channel_zero_compares_colours_not_brightness():
    red, green = [200, 0, 0], [0, 200, 0]
    image = np.array([[red, red, green, green]], np.uint8)
    labels, _ = grown(image, [[0, 0]], channel_axis=2, tolerance=0.3)
    assert labels.tolist() == [[1, 1, 0, 0]]


def test_one_channel_alone_may_be_chosen():
    image = np.array([[[0, 5], [9, 5], [0, 5]]])
    assert grown(image, [[0, 0]], channel_axis=2, channel=0)[0].tolist() == [[1, 0, 0]]
    assert grown(image, [[0, 0]], channel_axis=2, channel=1)[0].tolist() == [[1, 1, 1]]


def test_a_channel_that_does_not_exist_is_refused():
    with pytest.raises(ParameterError, match="channel"):
        grown(IMAGE, [IN_50], channel=2)


def test_smoothing_lets_a_region_cross_noise():
    image = np.tile([[0.0, 1.0]], (20, 10))
    image[0, 0] = 100
    assert np.count_nonzero(grown(image, [[10, 10]], tolerance=0.001)[0]) == 20
    assert np.count_nonzero(grown(image, [[10, 10]], tolerance=0.002, sigma=3.0)[0]) > 60


@pytest.mark.parametrize("rule", ["tolerance", "adaptive", "competing"])
def test_planes_are_grown_through_in_3d(rule):
    image = np.zeros((3, 4, 5))
    image[:, 1:3, 1:4] = 1
    labels, _ = grown(image, [[0, 1, 1], [2, 0, 0]], criterion=rule)
    assert (labels == labels[0, 1, 1]).tolist() == (image == 1).tolist()


@pytest.mark.parametrize("rule", ["tolerance", "adaptive", "competing"])
def test_an_image_of_one_pixel_is_one_object(rule):
    assert grown([[5]], [[0, 0]], criterion=rule)[0].tolist() == [[1]]


def test_differences_of_large_integers_are_kept():
    image = 2**40 + np.array([[0, 1, 5]])
    assert grown(image, [[0, 0]], tolerance=0.2)[0].tolist() == [[1, 1, 0]]


def test_the_input_is_left_as_it_is():
    painted = (IMAGE == 90).astype(np.int32)
    image, seeds = IMAGE.copy(), painted.copy()
    grown(image, seeds, criterion="competing")
    assert (image == IMAGE).all()
    assert (seeds == painted).all()


def halves(texture, other):
    """Put two textures of equal mean and variance side by side, with a seed in the middle of each."""
    textures = [(values - values.mean()) / values.std() for values in (texture, other)]
    is_first = np.zeros(texture.shape, bool)
    is_first[..., : texture.shape[-1] // 2] = True
    middle = [length / 2 for length in texture.shape[:-1]]
    seeds = [[*middle, share * texture.shape[-1]] for share in (0.25, 0.75)]
    return np.where(is_first, *textures), seeds, is_first


def noise(shape, sigma=0.0, seed=0):
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)


def bars(places, period):
    """Return bars with some noise."""
    return np.where(places % period < period / 2, 1.0, -1.0) + noise(places.shape) / 3


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


PLACES_Y, PLACES_X = np.indices((120, 120))
TEXTURES = {
    "white and blurred noise": (noise((120, 120)), noise((120, 120), 2, seed=1)),
    "level and upright stripes": (bars(PLACES_Y, 8), bars(PLACES_X, 8)),
    "both diagonals": (bars(PLACES_Y + PLACES_X, 9), bars(PLACES_Y - PLACES_X, 9)),
    "narrow and wide stripes": (bars(PLACES_X, 6), bars(PLACES_X, 12)),
    "checkerboards": (bars(PLACES_Y, 8) * bars(PLACES_X, 8), bars(PLACES_Y, 16) * bars(PLACES_X, 16)),
}


@pytest.mark.parametrize("rule", ["tolerance", "adaptive", "competing"])
@pytest.mark.parametrize("textures", TEXTURES.values(), ids=TEXTURES)
def test_textures_of_equal_mean_and_variance_are_parted(textures, rule):
    image, seeds, is_first = halves(*textures)
    labels, table = grown(image, seeds, feature="texture", criterion=rule, tolerance=0.3)
    first, second = (labels == number for number in np.argsort(table["seed"]) + 1)
    assert dice(first, is_first) > 0.95
    assert dice(second, ~is_first) > 0.95


def test_textures_are_parted_in_volumes_with_long_voxels():
    shape = (12, 40, 80)
    z, _, x = np.indices(shape)
    image, seeds, is_first = halves(bars(3 * z, 12), bars(x, 8))
    labels, _ = grown(image, seeds, feature="texture", criterion="competing", spacing=(3.0, 1.0, 1.0))
    assert dice(labels == labels[6, 20, 20], is_first) > 0.95
    assert dice(labels == labels[6, 20, 60], ~is_first) > 0.95


def test_a_texture_in_one_colour_is_found():
    grey = np.zeros((60, 120))
    blue = np.hstack([noise((60, 60)), noise((60, 60), 2) * 4])
    labels, _ = grown(
        np.stack([grey, grey, blue], -1), [[30, 30], [30, 90]], feature="texture", criterion="competing", channel_axis=2
    )
    assert dice(labels == labels[30, 30], PLACES_X[:60] < 60) > 0.95


def test_both_parts_what_differs_in_mean_and_what_differs_in_texture():
    level, upright = bars(PLACES_Y, 8), bars(PLACES_X, 8)
    thirds = np.select([PLACES_X < 40, PLACES_X < 80], [level, upright], upright + 6)
    seeds = [[60, 20], [60, 60], [60, 100]]
    labels, _ = grown(thirds, seeds, feature="both", criterion="competing")
    for third, seed in enumerate(seeds):
        assert dice(labels == labels[tuple(seed)], third == PLACES_X // 40) > 0.95


def test_intensity_does_not_count_in_texture():
    image = bars(PLACES_X, 8)[:60, :80]
    brighter = image + 5 * (np.arange(80) < 40)
    labels, _ = grown(brighter, [[30, 60]], feature="texture", tolerance=0.6)
    assert labels[:, :30].any()

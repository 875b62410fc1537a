"""What is found to be no image, and what looks like it but is image."""

import dask.array as da
import numpy as np
import pytest
from scipy import ndimage
from skimage import transform

from napari_tessera.core.valid_area import Fill, filled, find_fill

RNG = np.random.default_rng(0)


def texture(side=160, offset=500.0):
    rough = ndimage.gaussian_filter(RNG.random((side, side)), 6)
    return (rough - rough.min()) / np.ptp(rough) * 1000 + RNG.normal(0, 20, (side, side)) + offset


IMAGE = texture()
ALL = np.ones(IMAGE.shape, bool)


def framed():
    return np.pad(IMAGE, 40), np.pad(ALL, 40)


def rotated(angle):
    left = ndimage.rotate(ALL.astype(np.uint8), angle, order=0) > 0
    return np.where(left, ndimage.rotate(IMAGE, angle, order=0), 0), left


def columns(count, value):
    image, left = IMAGE.copy(), ALL.copy()
    image[:, :count], left[:, :count] = value, False
    return image, left


def mosaic():
    image, left = IMAGE.astype(np.uint16), ALL.copy()
    for part in np.s_[:20, :70], np.s_[30:80, 150:], np.s_[140:, 60:]:
        image[part], left[part] = 65535, False
    return image, left


@pytest.mark.parametrize(
    "made",
    [
        framed,
        mosaic,
        *(lambda a=a: rotated(a) for a in (1, 10, 17, 30, 45)),
        lambda: columns(1, -1024),
        lambda: columns(9, np.nan),
    ],
)
def test_padding_and_nan_are_found_to_the_pixel(made):
    image, left = made()
    np.testing.assert_array_equal(find_fill(image, None).valid(image, None), left)


def discs(count, radius, noise=20):
    image, (y, x) = np.zeros((200, 200)), np.ogrid[:200, :200]
    for cy, cx in RNG.integers(radius, 200 - radius, (count, 2)):
        disc = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
        image[disc] = RNG.normal(200, noise, disc.sum())
    return image


def squares():
    image = np.zeros((64, 64), np.uint8)
    image[8:40, 8:40], image[45:60, 45:60] = 200, 90
    return image


@pytest.mark.parametrize(
    "image",
    [IMAGE, np.clip(IMAGE - 900, 0, None), np.clip((IMAGE - 900) / 2, 0, 255).astype(np.uint8), squares(),
     np.tile(np.arange(100, dtype=np.uint16), (100, 1)), discs(1, 40), discs(1, 95), discs(30, 12),
     discs(5, 30, noise=0), np.zeros((64, 64)), IMAGE[:17, :17]],
)  # fmt: skip
def test_black_background_of_objects_is_image(image):
    assert find_fill(image, None) is None


def test_opacity_is_told_from_a_fourth_channel():
    left = ALL.copy()
    left[-50:, -50:] = False
    rgba = np.stack([IMAGE / 8] * 3 + [np.where(left, 255, 0)], -1).astype(np.uint8)
    np.testing.assert_array_equal(find_fill(rgba, 2, may_be_transparent=True).valid(rgba, 2), left)
    assert find_fill(rgba, 2) is None
    assert find_fill(np.stack([IMAGE / 8] * 4, -1).astype(np.uint8), 2, may_be_transparent=True) is None


def test_planes_of_a_volume_are_padded_each_in_its_way():
    volume = np.zeros((6, 180, 180))
    for plane in range(1, 6):
        volume[plane, 2 * plane : 2 * plane + 160, 8 : 8 + 160] = IMAGE
    np.testing.assert_array_equal(find_fill(volume, None).valid(volume, None), volume > 0)


def test_blocks_agree_with_the_whole_and_an_image_on_disk_with_one_in_memory():
    image, left = rotated(17)
    fill = find_fill(da.from_array(image, chunks=50), None)
    assert fill.colours == find_fill(image, None).colours
    for y in range(0, image.shape[0], 50):
        block = np.s_[max(0, y - 2) : y + 52, 100:160]
        valid = fill.valid(image[block], None)
        valid = np.ones_like(left[block]) if valid is None else valid
        np.testing.assert_array_equal(valid[2:-2, 2:-2], left[block][2:-2, 2:-2])


def test_fill_mirrors_the_image_at_its_border():
    image = np.array([[np.nan, np.nan, np.nan, 4.0, 5.0, 6.0]])
    assert filled(image, ~np.isnan(image), None).tolist() == [[6, 6, 5, 4, 5, 6]]


def test_fill_takes_values_near_by_and_leaves_no_edge():
    image = np.array([[1.0, np.nan, np.nan, 4.0], [5.0, 6.0, 7.0, 8.0]])
    valid = ~np.isnan(image)
    assert filled(image, valid, None).tolist() == [[1, 6, 7, 4], [5, 6, 7, 8]]
    corner = np.array([[0, 0, 9], [0, 0, 9], [2, 2, 3]])
    assert filled(corner, corner > 0, None).min() > 0
    assert filled(corner, np.zeros((3, 3), bool), None, (7.0,)).tolist() == [[7] * 3] * 3


def test_masked_pixels_are_no_image():
    masked = np.zeros(IMAGE.shape, bool)
    masked[3, 4] = True
    fill = find_fill(IMAGE, None, masked=masked)
    np.testing.assert_array_equal(fill.valid(IMAGE, None, masked), ~masked)


def test_note_names_the_causes_and_how_much():
    note = Fill(((-1024.0,),), has_nan=True).note(0.123)
    assert note.startswith("12 % of the pixels are not image (padding with the value −1024, NaN or infinite)")


@pytest.mark.parametrize(("colour", "words"), [((0, 0, 255), "(0, 0, 255)"), ((0, 0, 0), "0")])
def test_note_shows_all_colours_of_padding_without_the_opacity(colour, words):
    rgb = np.stack([IMAGE / 8 + shift for shift in (0, 20, 40)], -1).astype(np.uint8)
    rgb = np.concatenate([rgb, np.full((60, *rgb.shape[1:]), colour, np.uint8)])
    rgba = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    for image in (rgb, rgba):
        fill = find_fill(image, 2, may_be_transparent=True)
        assert f"(padding with the value {words})" in fill.note(0.3)
        assert not fill.valid(image, 2)[-60:].any()


@pytest.mark.parametrize("value", [0, 300, 700, 1000, 1500, 5000])
def test_padding_may_have_any_value(value):
    image = np.rint(IMAGE).astype(np.uint16)
    framed = np.pad(image, 30, constant_values=value)
    fill = find_fill(framed, None)
    assert fill.colours == ((value,),)
    np.testing.assert_array_equal(fill.valid(framed, None), np.pad(ALL, 30))
    corner = image.copy()
    corner[:60, :50] = value
    assert find_fill(corner, None).colours == ((value,),)


def test_flat_shapes_at_the_rim_of_a_drawing_are_image():
    drawing = np.zeros((150, 170), np.uint8)
    for number, (row, column) in enumerate(np.ndindex(6, 7)):
        drawing[24 * row : 24 * row + 12, 24 * column : 24 * column + 12] = 150 + 2 * number
    assert find_fill(drawing, None) is None
    assert find_fill(drawing.astype(np.int32) + 1000, None) is None


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_pixels_blended_with_padding_are_no_image(share):
    shifted = np.pad(IMAGE, [(30, 0), (0, 0)])
    shifted[30] *= share
    valid = find_fill(shifted, None).valid(shifted, None)
    assert not valid[:30].any()
    assert valid[34:].all()
    assert share > 0.8 or not valid[30].any()


@pytest.mark.parametrize("angle", [3, 8, 17])
def test_an_interpolated_rotation_is_recognised(angle):
    turned = transform.rotate(IMAGE, angle, preserve_range=True)
    inside = transform.rotate(ALL.astype(float), angle) > 0.999
    valid = find_fill(turned, None).valid(turned, None)
    assert valid[~inside].mean() < 0.1  # tips of the corners
    assert valid[ndimage.binary_erosion(inside, iterations=4, border_value=1)].all()


@pytest.mark.parametrize("value", [-1024, 0, 30_000])
def test_what_lies_around_a_round_field_of_view_is_no_image(value):
    y, x = np.ogrid[:160, :160]
    outside = (y - 79.5) ** 2 + (x - 79.5) ** 2 > 79.5**2
    seen = np.where(outside, value, IMAGE)
    np.testing.assert_array_equal(find_fill(seen, None).valid(seen, None), ~outside)


def test_padding_of_one_channel_is_no_image():
    channels = np.stack([IMAGE, IMAGE[::-1]])
    channels[1, :, :30] = 0
    fill = find_fill(channels, 0)
    assert fill.colours == ((None, 0.0),)
    assert "padding with the value 0" in fill.note(0.1)
    valid = fill.valid(channels, 0)
    assert not valid[:, :30].any()
    assert valid[:, 30:].all()


def within(shape, radii, centre=None):
    """True in an ellipse."""
    y, x = np.indices(shape)
    cy, cx = centre or (shape[0] / 2, shape[1] / 2)
    return ((y - cy) / radii[0]) ** 2 + ((x - cx) / radii[1]) ** 2 <= 1


def rounded(shape, radius):
    """True in a rectangle with round corners."""
    y, x = np.indices(shape)
    away = [np.maximum(0, radius - np.minimum(at, side - 1 - at)) for at, side in zip((y, x), shape, strict=True)]
    return np.hypot(*away) <= radius


@pytest.mark.parametrize(
    "left",
    [within(IMAGE.shape, (45, 45)), within(IMAGE.shape, (32, 60), (70, 90)), rounded(IMAGE.shape, 20)],
    ids=["circle", "ellipse", "round corners"],
)
def test_a_round_image_may_be_small_and_corners_round(left):
    image = np.where(left, IMAGE, 0)
    np.testing.assert_array_equal(find_fill(image, None).valid(image, None), left)


@pytest.mark.parametrize("value", [0, 255])
def test_a_square_of_one_value_inside_an_image_may_be_an_object(value):
    image = (IMAGE / 8).astype(np.uint8)
    image[60:80, 50:110] = value
    assert find_fill(image, None) is None


def test_a_blurred_object_on_black_is_image():
    image = np.clip(ndimage.gaussian_filter(np.where(within(IMAGE.shape, (40, 30)), IMAGE, 0), 2) - 50, 0, None)
    assert find_fill(image, None) is None

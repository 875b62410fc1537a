"""A prediction becomes paint where the user agrees: never over paint, undone in one go, no half objects."""

import numpy as np
import pytest

from napari_tessera.core.errors import InputError
from napari_tessera.gui.layers.annotation import new_annotation
from napari_tessera.gui.train.accept import Selection, accept, clicked, in_outlines, in_view

SIDE = 12


@pytest.fixture
def annotation(viewer):
    """An empty layer to paint classes on."""
    image = viewer.add_image(np.zeros((SIDE, SIDE)), name="cells", scale=(0.5, 0.5))
    return new_annotation(viewer, image, "YX", ["background", "cell"], "classes")


@pytest.fixture
def for_objects(viewer):
    """An empty layer to paint objects on."""
    image = viewer.add_image(np.zeros((SIDE, SIDE)), name="cells", scale=(0.5, 0.5))
    return new_annotation(viewer, image, "YX", (), "objects")


@pytest.fixture
def predicted(viewer):
    """Two squares, 1 and 2; the second one reaches the right side."""
    data = np.zeros((SIDE, SIDE), np.int32)
    data[2:5, 2:5], data[7:10, 8:12] = 1, 2
    return viewer.add_labels(data, name="prediction", scale=(0.5, 0.5))


@pytest.fixture
def accepted(qtbot):
    """Accept, and wait until all is painted."""

    def to_the_end(*given, **more):
        painting = accept(*given, **more)
        with qtbot.waitSignal(painting.ended, timeout=20_000):
            pass
        return painting.accepted

    return to_the_end


def everywhere(layer):
    return Selection(tuple(slice(0, length) for length in layer.data.shape))


def columns(start, stop):
    return Selection((slice(0, SIDE), slice(start, stop)))


def test_classes_are_painted_one_higher(predicted, annotation, accepted):
    found = accepted(predicted, annotation, everywhere(annotation))
    np.testing.assert_array_equal(annotation.data, predicted.data + 1)
    assert found.pixels == SIDE**2


def test_paint_that_is_there_stays(predicted, annotation, accepted):
    annotation.data[3:9, 3:9] = 5
    accepted(predicted, annotation, everywhere(annotation))
    assert (annotation.data[3:9, 3:9] == 5).all()


def test_only_the_part_is_painted(predicted, annotation, accepted):
    accepted(predicted, annotation, columns(0, 4))
    np.testing.assert_array_equal(annotation.data[:, :4], predicted.data[:, :4] + 1)
    assert not annotation.data[:, 4:].any()


def test_one_undo_takes_everything_back(viewer, accepted):
    data = np.random.default_rng(0).integers(0, 3, (600, 700)).astype(np.int32)
    prediction = viewer.add_labels(data)
    annotation = viewer.add_labels(np.zeros(data.shape, np.uint8))
    annotation.data_setitem((np.array([4]), np.array([4])), 9)
    accepted(prediction, annotation, everywhere(annotation))
    assert annotation.data.all()
    annotation.undo()
    assert np.flatnonzero(annotation.data).tolist() == [4 * 700 + 4]


def test_objects_get_numbers_that_are_free(predicted, for_objects, accepted):
    for_objects.data[11, 0] = 40
    found = accepted(predicted, for_objects, everywhere(for_objects))
    assert (for_objects.data[3, 3], for_objects.data[8, 9], for_objects.data[0, 0]) == (41, 42, 1)
    assert found.objects == 2


def test_an_object_cut_by_the_part_is_left_out(predicted, for_objects, accepted):
    found = accepted(predicted, for_objects, columns(0, 10))
    assert (for_objects.data[3, 3], for_objects.data[8, 9]) == (2, 0)
    assert found.cut == 1
    assert "extend beyond" in str(found)


def test_an_object_at_the_border_of_the_image_is_whole(predicted, for_objects, accepted):
    assert accepted(predicted, for_objects, columns(6, 12)).objects == 1


def test_an_object_drawn_by_hand_is_not_drawn_around(predicted, for_objects, accepted):
    for_objects.data[3, 3] = 7
    found = accepted(predicted, for_objects, everywhere(for_objects))
    assert np.unique(for_objects.data[2:5, 2:5]).tolist() == [0, 7]
    assert (found.met, found.objects) == (1, 1)


def test_background_painted_by_hand_is_cut_out_of_an_object(predicted, for_objects, accepted):
    for_objects.data[3, 3] = 1
    accepted(predicted, for_objects, everywhere(for_objects))
    assert (for_objects.data[2, 2], for_objects.data[3, 3]) == (2, 1)


def test_a_prediction_of_a_part_is_painted_where_it_lies(viewer, for_objects, accepted):
    data = np.zeros((6, 6), np.int32)
    data[1:3, 1:3], data[3:6, 4:6] = 1, 2
    part = viewer.add_labels(data, scale=(0.5, 0.5), translate=(1.5, 2))
    found = accepted(part, for_objects, everywhere(for_objects))
    assert (for_objects.data[4, 5], for_objects.data[0, 0]) == (2, 0)
    assert found.cut == 1  # the second one may go on where nobody has looked


def test_drawn_outlines_say_where(viewer, predicted, annotation, accepted):
    shapes = viewer.add_shapes([[0.8, 0.8], [0.8, 2.2], [2.2, 2.2], [2.2, 0.8]], shape_type="polygon")
    accepted(predicted, annotation, in_outlines(viewer, shapes, annotation, "YX"))
    rows, across = np.nonzero(annotation.data)
    assert (rows.min(), rows.max(), across.min(), across.max()) == (2, 4, 2, 4)
    assert (annotation.data[2:5, 2:5] == 2).all()


def test_lines_enclose_nothing(viewer, annotation):
    shapes = viewer.add_shapes([[0, 0], [3, 3]], shape_type="line")
    with pytest.raises(InputError, match="no shape that encloses"):
        in_outlines(viewer, shapes, annotation, "YX")


@pytest.mark.parametrize("task", ["objects", "classes"])
def test_a_click_takes_what_is_under_it(task, viewer, predicted, annotation, accepted):
    where = clicked(viewer, predicted, annotation, (1.5, 1.5), task)
    accepted(predicted, annotation, where, task)
    assert (annotation.data[2:5, 2:5] == 2).all()
    assert np.count_nonzero(annotation.data) == 9


@pytest.mark.parametrize(("world", "said"), [((0, 0), "no object"), ((90, 90), "no prediction")])
def test_a_click_beside_objects_says_so(world, said, viewer, predicted, for_objects):
    with pytest.raises(InputError, match=said):
        clicked(viewer, predicted, for_objects, world, "objects")


def test_in_view_is_the_plane_shown(viewer):
    stack = viewer.add_labels(np.zeros((4, SIDE, SIDE), np.uint8))
    viewer.dims.set_current_step(0, 3)
    assert in_view(viewer, stack).window[0] == slice(3, 4)


def test_pixels_of_another_size_are_refused(viewer, annotation):
    with pytest.raises(InputError, match="do not match"):
        accept(viewer.add_labels(np.zeros((6, 6), int)), annotation, everywhere(annotation))


def test_numbers_that_do_not_fit_are_refused_before_anything_is_painted(viewer, annotation, qtbot):
    data = np.zeros((SIDE, SIDE), np.int32)
    data[5, 5] = 300
    painting = accept(viewer.add_labels(data, scale=(0.5, 0.5)), annotation, everywhere(annotation))
    with qtbot.waitSignal(painting.failed, timeout=20_000) as failed:
        pass
    assert "301 is needed" in str(failed.args[0])
    assert not annotation.data.any()

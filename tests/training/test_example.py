"""What is painted in an image of numbered objects."""

import numpy as np

from napari_tessera.training.data.example import painted_objects


def test_an_outline_around_another_object_counts_as_not_painted():
    labels = np.zeros((9, 9), dtype=np.int32)
    labels[1:8, 1:8], labels[2:7, 2:7] = 1, 2
    painted = painted_objects(labels)
    assert painted[1, 4] == 0
    assert painted[4, 4] == 3
    assert painted[0, 0] == 1

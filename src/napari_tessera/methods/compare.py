"""The method `compare`: mark where labels and the truth differ."""

from __future__ import annotations

from typing import Annotated

from napari_tessera.core.jobs import Job
from napari_tessera.core.method import Method
from napari_tessera.core.spec import Labels, Range, Table, Title


def compare(
    truth: Labels,
    prediction: Labels,
    *,
    iou: Annotated[float, Title("Overlap (IoU)"), Range(0.1, 1.0, step=0.05)] = 0.5,
) -> Job[tuple[Labels, Table]]:
    """Mark every object as found, missed, invented, split or merged.

    Parameters
    ----------
    truth : array
        The right labels, (Y, X) or (Z, Y, X); 0 is background.
    prediction : array
        The labels to judge, of the same shape.
    iou : float
        Two objects are the same one if the pixels they share are at least this fraction of the pixels of both
        together. Objects are matched one to one, as many as possible.

    Returns
    -------
    labels : array
        One object for each row of the table, 1…N in raster order, drawn with the pixels of both images. Where two
        overlap, a mistake is drawn over an object found, and the smaller of two mistakes over the larger.
    table : dict
        ``label``; ``state``; ``iou``; ``truth`` and ``prediction``, the numbers of the two objects compared (0 for
        none); ``truth_objects`` and ``predicted_objects``, how many of each are gathered in this row. Every object of
        both images is in exactly one row, so these two columns add up to the numbers of objects.

        - "found": a matched pair.
        - "missed": a true object without a match; ``prediction`` is the one that comes closest.
        - "invented": a predicted object without a match; ``truth`` is the one that comes closest.
        - "split": a true object that holds two or more predicted ones, with them. An object holds another if it has
          more than half of its pixels.
        - "merged": a predicted object that holds two or more true ones, with them.

    Raises
    ------
    InputError
        If the two images differ in shape.

    Notes
    -----
    A split or merged object may still have a match (a large part and a crumb); scores such as AP count it as found.
    An object hidden altogether by smaller mistakes has no row of its own; it is counted in that of the one on it.

    References
    ----------
    Coelho et al. 2009, doi:10.1109/ISBI.2009.5193098; Caicedo et al. 2019, doi:10.1002/cyto.a.23863.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_tessera as tessera
    >>> labels, table = tessera.compare(np.array([[1, 1, 0, 2]]), np.array([[5, 5, 0, 0]]))
    >>> labels
    array([[1, 1, 0, 2]], dtype=int32)
    >>> table["state"].tolist()
    ['found', 'missed']
    """
    from napari_tessera.metrics.matching import finding_errors

    return (yield from finding_errors(truth, prediction, iou))


METHOD = Method(compare, "Compare with truth")

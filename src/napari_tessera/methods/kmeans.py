"""k-means: k classes of pixels that are alike in intensity, channels or colour."""

from __future__ import annotations

from typing import Annotated, Literal

from napari_tessera.jobs import Job
from napari_tessera.methods.kmeans_passes import KMEANS
from napari_tessera.result import Found
from napari_tessera.spec import ChannelAxis, Image, Labels, Range, ShownIf, Spacing
from napari_tessera.two_pass import run_whole


def kmeans(
    image: Image,
    *,
    k: Annotated[int, Range(2, 20)] = 3,
    features: Literal["channels", "intensity", "cielab"] = "channels",
    channel: Annotated[int, Range(0, 100), ShownIf("features", "intensity")] = 0,
    smoothing: Annotated[float, Range(0, 50, unit="px", step=0.5)] = 0.0,
    position_weight: Annotated[float, Range(0, 1e9, unit="intensity/px")] = 0.0,
    restarts: Annotated[int, Range(1, 50)] = 4,
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0,
    spacing: Spacing = None,
    channel_axis: ChannelAxis = None,
) -> Job[Labels | Found]:
    """Sort pixels into k classes of like intensity or colour.

    Parameters
    ----------
    image : (Y, X) or (Z, Y, X) array
        Any integer or floating-point dtype, with channels at `channel_axis` if it has any.
    k : int
        Number of classes.
    features : str
        What makes pixels alike. "channels": the values of all channels, such as red, green and blue. "intensity": one
        grey value, see `channel`. "cielab": lightness and two colour axes, spaced as the eye sees differences, from
        the first three channels as sRGB.
    channel : int
        Channel to use as intensity, from 1; 0 is all together: luminance for three or four channels, otherwise their
        mean.
    smoothing : float
        Standard deviation of a Gaussian that is applied to each channel first; 0 is none.
    position_weight : float
        How much difference in intensity (with "cielab", in lightness, 0 to 100) a distance of one pixel is worth; 0
        ignores where pixels lie. Distance follows `spacing`.
    restarts : int
        Random starts, of which the best is taken. With one grey value the best classes are found without any.
    seed : int
        Seed of the random starts; the same seed gives the same labels.
    spacing : tuple of float, optional
        Size of a pixel along each spatial axis.
    channel_axis : int, optional
        Axis of `image` that holds channels, or None. If not given, it is the last one of what looks like colours: of
        length 3 or 4, in an image that is 8-bit or larger than 30×30.

    Returns
    -------
    (Y, X) or (Z, Y, X) int32 array
        1…`k` from dark to bright. Every pixel has a class, none is 0. There are fewer classes where the image has
        fewer different values.

    Raises
    ------
    InputError
        If "cielab" is asked for without three channels, or for floating-point values outside 0 to 1.

    Notes
    -----
    One grey value: the classes with the least variance within them, exactly, on the counts of all values (of 65,536
    steps where these do not lie on as many equal steps). 8-bit images of two or three channels: Lloyd's algorithm on
    the different colours with their counts, which is exact. Others, and all with `position_weight`: the centres are
    fitted to at most 131,072 pixels drawn by `seed`, and every pixel goes to its nearest centre. Whether two classes
    could be better still cannot be known for more than one feature; see `restarts`.

    References
    ----------
    Lloyd 1982, doi:10.1109/TIT.1982.1056489; Arthur & Vassilvitskii 2007, k-means++; Kanungo et al. 2002,
    doi:10.1109/TPAMI.2002.1017616; Grønlund et al. 2017, arXiv:1701.07204.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_tessera as tessera
    >>> tessera.kmeans(np.array([[7, 90, 8], [200, 92, 7]], np.uint8), k=3)
    array([[1, 2, 1],
           [3, 2, 1]], dtype=int32)
    """
    settings = {name: value for name, value in locals().items() if name != "image"}
    return (yield from run_whole(KMEANS, image, **settings))

"""The method `region_growing`: grow regions from seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from napari_tessera.core.jobs import Job, subtask
from napari_tessera.core.labels import renumbering
from napari_tessera.core.method import Method
from napari_tessera.core.spec import (
    SIGMA_TITLE,
    Channel,
    ChannelAxis,
    Connectivity,
    Image,
    Labels,
    Points,
    Range,
    ShownIf,
    Spacing,
    Table,
    Title,
    Valid,
)

if TYPE_CHECKING:
    from napari_tessera.algorithms.seeded_growing import Seeds


def region_growing(
    image: Image,
    seeds: Points | Labels,
    *,
    criterion: Literal["tolerance", "adaptive", "competing"] = "tolerance",
    tolerance: Annotated[float, Range(0, 1, step=0.01), ShownIf("criterion", "tolerance")] = 0.1,
    k: Annotated[
        float, Title("Largest difference (k)"), Range(0, 10, step=0.1), ShownIf("criterion", "adaptive")
    ] = 2.5,
    feature: Literal["intensity", "texture", "both"] = "intensity",
    texture_radius: Annotated[int, Range(2, 100, unit="px"), ShownIf("feature", "texture", "both")] = 8,
    channel: Channel = None,
    sigma: Annotated[float, SIGMA_TITLE, Range(0, 50, unit="px"), ShownIf("feature", "intensity")] = 1.0,
    connectivity: Connectivity = 1,
    max_size: Annotated[int, Range(0, unit="px²")] = 0,
    background: Annotated[int, Range(0)] = 0,
    spacing: Spacing = None,
    channel_axis: ChannelAxis = None,
    valid: Valid = None,
) -> Job[tuple[Labels, Table]]:
    """Grow each seed over neighbours of similar intensity or texture.

    Parameters
    ----------
    image : array
        (Y, X) or (Z, Y, X), with the channels at `channel_axis`.
    seeds : array
        Points, (N, 2) as y, x or (N, 3) as z, y, x: each is a seed. Or painted labels of the image's shape: each number
        is a seed, also where it is painted in several places; 0 is not painted.
    criterion : str
        "tolerance" takes pixels whose intensity differs from the seed's by at most `tolerance`. "adaptive" takes
        pixels within `k` standard deviations of the region's mean, measures the region anew, and repeats that until
        it stands still. "competing" shares out the whole image: the pixel most similar to the mean of a region next
        to it goes first (Adams & Bischof).
    tolerance : float
        Largest difference from the mean of the seed's pixels, as a fraction of the range of the image's intensities; 0
        takes equal ones only, 1 takes all. Texture varies more within a region: 0.2 to 0.4 suits it.
    k : float
        Largest difference from the region's mean, in standard deviations of the region. Below about 2 regions tend to
        shrink to the seed.
    feature : str
        What is compared. "intensity": the intensity of each pixel. "texture": how strongly intensities change along
        each direction, at a fine and a coarse scale, on average over a window around the pixel; the mean intensity
        does not matter. "both": the texture and the mean intensity of the window, which count the same.
    texture_radius : int
        Half the width of that window, in pixels along X. It should hold several stripes, grains or patches of the
        texture; a region narrower than the window has no texture of its own.
    channel : int, optional
        Channel to work on, from 0. Empty compares all of them: the difference is the root mean square over the
        channels, which for RGB is the colour distance (a fourth of four channels is taken for opacity and left out).
    sigma : float
        Sigma of a Gaussian that smooths the image first, in pixels along X; 0 does not smooth.
    connectivity : int
        1 grows across the faces of pixels only; 2 and 3 across edges and corners too.
    max_size : int
        A region of this many pixels takes no more; 0 means no limit. Seed pixels are always kept.
    background : int
        Number of the seed (the painted number, or the number of the point from 1) that is no object: it grows as the
        others do and is then set to 0. 0 means that there is none.
    valid : array of bool, optional
        Where the image is, of its spatial shape; nothing grows outside. None means everywhere.

    Returns
    -------
    labels : array
        One object for each seed, 1…N in raster order.
    table : dict
        One row per object: who owns what.

        - ``label``; ``seed``: the painted number, or the number of the point, from 1.
        - ``num_seed_pixels``, ``num_grown_pixels``: pixels of the seed, and pixels that it grew over, if any.
        - ``num_contested_pixels``: pixels of this object next to another one whose seed would have accepted them too,
          at the end. ``shared_with``: the seed that contests most of them, 0 for none.
        - ``absorbed_seeds``: numbers of further points on the pixel of this one, which have no object of their own.
        - ``is_full``: whether `max_size` stopped it.

    Raises
    ------
    ParameterError
        If the image does not have the channel.

    Notes
    -----
    All seeds grow at once. A pixel that several regions accept goes to the one whose mean is nearest to it, of equals
    to the one that arrives first, and then to the lowest number; so the same seeds give the same labels. The queue
    sorts differences into 4096 levels; unlike in the original, a waiting pixel moves forward when a more similar region
    arrives. Without seeds nothing is found.

    Texture is measured by the mean size of oriented Gaussian derivatives (Laws' texture energy), of which the
    logarithm is compared; sigma is 1 px and a fourth of `texture_radius`. The tolerance is a fraction of the range of
    the feature that varies most. Near a border, where a window holds two textures, a pixel takes the window beside it
    in which the texture changes least (Hsiao & Sawchuk); corners of a region are thus rounded by about half the radius.
    Channels are measured one by one and added up. Patterns that repeat within 2 px hardly show.

    "adaptive" begins with the pixels of the seed and those around them. A region stands still when a round leaves it
    at the same size, or when it has lost more than half of its pixels to others; after 30 rounds all do. Then all grow
    once more, with the means and limits found.

    References
    ----------
    Adams R., Bischof L. (1994), Seeded region growing, doi:10.1109/34.295913. Laws K. (1980), Rapid texture
    identification, doi:10.1117/12.959169. Hsiao J., Sawchuk A. (1989), Supervised textured image segmentation using
    feature smoothing and probabilistic relaxation techniques, doi:10.1109/34.41366.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_tessera as tessera
    >>> image = np.array([[10, 10, 90, 90, 10]])
    >>> labels, table = tessera.region_growing(image, np.array([[0, 3]]), sigma=0)
    >>> labels
    array([[0, 0, 1, 1, 0]], dtype=int32)
    >>> int(table["num_grown_pixels"][0])
    1
    """
    from napari_tessera.algorithms import seeded_growing as growing
    from napari_tessera.algorithms.pixel_features import chosen_channels, framed_features

    channels = chosen_channels(image, channel_axis, channel, "region_growing")
    given = growing.read_seeds(seeds, channels[0].shape)
    values = yield from subtask(framed_features(channels, feature, sigma, texture_radius, spacing, valid), 0, 2, 10)
    ground = growing.lay_out(values, given, connectivity, valid)
    largest = max_size or np.iinfo(np.int64).max
    growths = {
        "tolerance": lambda: growing.grow_once(ground, tolerance, largest),
        "adaptive": lambda: growing.grow_adaptively(ground, k, largest),
        "competing": lambda: growing.grow_once(ground, np.inf, largest, follows_mean=True),
    }
    regions = yield from subtask(growths[criterion](), 2, 6, 10)
    contests = yield from subtask(growing.find_contests(ground, regions), 8, 1, 10)
    table = _describe_owners(given, regions.sizes[1:], contests, largest)
    labels = ground.labels[(slice(1, -1),) * (values.ndim - 1)]
    return (yield from subtask(_numbered(labels, table, background), 9, 1, 10))


def _describe_owners(
    seeds: Seeds, sizes: np.ndarray, contests: tuple[np.ndarray, np.ndarray, np.ndarray], largest: int
) -> Table:
    """Make the table with one row per seed, in the order of the seeds."""
    owners, rivals, pixels = contests
    seed_sizes = np.bincount(seeds.owners, minlength=len(sizes))
    contested = np.zeros(len(sizes), np.int64)
    np.add.at(contested, owners - 1, pixels)
    shared_with = np.zeros(len(sizes), np.int64)
    ascending = np.argsort(pixels, kind="stable")
    shared_with[owners[ascending] - 1] = seeds.numbers[rivals[ascending] - 1]
    absorbed = [" ".join(map(str, seeds.absorbed.get(number, []))) for number in seeds.numbers.tolist()]
    return {
        "label": np.arange(1, len(sizes) + 1),
        "seed": seeds.numbers,
        "num_seed_pixels": seed_sizes,
        "num_grown_pixels": sizes - seed_sizes,
        "num_contested_pixels": contested,
        "shared_with": shared_with,
        "absorbed_seeds": np.array(absorbed, dtype=str),
        "is_full": sizes >= largest,
    }


def _numbered(labels: np.ndarray, table: Table, background: int) -> Job[tuple[np.ndarray, Table]]:
    """Set the background's region to 0, number the others in raster order, and order the table alike."""
    for number in table["label"][table["seed"] == background]:
        labels = np.where(labels == number, 0, labels)
    labels, regions = yield from renumbering(labels)
    ordered = {name: column[regions - 1] for name, column in table.items()}
    return labels, {**ordered, "label": np.arange(1, len(regions) + 1)}


METHOD = Method(region_growing, "Region growing")

"""Score a Mask R-CNN for nuclei: python bench_nuclei_mask_rcnn.py --data FOLDER [--split val] [--model NAME|PATH].

FOLDER holds nuclei/ (see docs/data.md). Everything runs through the method `mask_rcnn` with default settings, the same
for every image. `--every 8` scores every eighth image only, for a quick look.
"""

import numpy as np
from nuclei_table import options, print_table

from napari_tessera.core.jobs import run_job
from napari_tessera.methods.mask_rcnn import mask_rcnn

GOALS = {
    "fluorescence": {"AP 0.5": 0.88, "pooled": 0.86, "AP 0.75": 0.70},
    "stained + brightfield": {"AP 0.5": 0.60},
}


def main():
    parser = options(__doc__)
    parser.add_argument("--min-score", type=float, help="least score; the model's own if not given")
    chosen = parser.parse_args()
    settings = {"min_score": chosen.min_score} | ({"model": chosen.model} if chosen.model else {})

    def segmented(image: np.ndarray) -> np.ndarray:
        return run_job(mask_rcnn(image, channel_axis=2 if image.ndim == 3 else None, **settings)).labels

    print_table(chosen, segmented, GOALS)


if __name__ == "__main__":
    main()

"""Score a nuclei model by modality: python bench_nuclei_unet.py --data FOLDER [--split val] [--model NAME|PATH].

FOLDER holds nuclei/ (see docs/data.md). Everything runs through the method `unet` with
default settings, the same for every image. `--every 8` scores every eighth image only, for a quick look.
"""

import numpy as np
from nuclei_table import options, print_table

import napari_tessera as tessera

GOALS = {
    "fluorescence": {"AP 0.5": 0.90, "pooled": 0.88, "mAP": 0.65},
    "520×696": {"mAP": 0.79},
    "stained + brightfield": {"AP 0.5": 0.65},
}


def main():
    parser = options(__doc__)
    parser.add_argument("--augment", action="store_true")
    chosen = parser.parse_args()
    settings = {"augment": chosen.augment} | ({"model": chosen.model} if chosen.model else {})

    def segmented(image: np.ndarray) -> np.ndarray:
        return tessera.unet(image, channel_axis=2 if image.ndim == 3 else None, **settings)

    print_table(chosen, segmented, GOALS)


if __name__ == "__main__":
    main()

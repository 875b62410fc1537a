"""Train twice with one seed, in two processes, and compare the weights: python bench_same_seed.py [--steps 100].

The SHA-256 is over the bytes of all tensors of the model file; its header also holds the time it took.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from small_training import command, tensors_of, write_discs

START = "import sys; from napari_tessera.cli.main import main; sys.exit(main())"


def digest(path):
    """Hash names and bytes of the tensors."""
    hashing = hashlib.sha256()
    for name, content in tensors_of(path).items():
        hashing.update(name.encode() + content)
    return hashing.hexdigest()


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=100)
    chosen = options.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_discs(folder)
        for run, seed in (("first", 0), ("second", 0), ("another seed", 1)):
            out = folder / f"{run}.safetensors"
            subprocess.run([sys.executable, "-c", START, *command(folder, out, chosen.steps, seed)], check=True)
            found[run] = digest(out)
            print(f"| {run} | seed {seed} | {found[run]} |", flush=True)
    is_same = found["first"] == found["second"] != found["another seed"]
    print("same seed, same weights" if is_same else "THE WEIGHTS DIFFER")
    sys.exit(0 if is_same else 1)


if __name__ == "__main__":
    main()

"""Inference with networks: normalise an image, find its scale, predict tile by tile, decode scores into labels."""

"""Scores of a segmentation against the truth."""

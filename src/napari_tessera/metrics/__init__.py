"""Scores of a segmentation against a truth."""

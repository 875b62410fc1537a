"""Mask R-CNN, in parts."""

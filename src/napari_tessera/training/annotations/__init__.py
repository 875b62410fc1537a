"""Sparse annotations, which a user paints, as training data."""

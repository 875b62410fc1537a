"""Images with labels as training data."""

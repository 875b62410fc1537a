"""Networks and their files: the only place that defines networks."""

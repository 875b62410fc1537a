"""Train a network: settings, data, losses, the loop and the report."""

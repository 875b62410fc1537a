"""Train a network: settings, data, losses, the training loop and the report."""

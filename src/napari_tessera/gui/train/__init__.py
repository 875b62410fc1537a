"""The Train widget: annotate images, train a network, correct its predictions."""

"""Training: losses, targets, patches, augmentation and the loop."""

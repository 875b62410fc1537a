"""What several tests share: arrays to segment, tiny models, faults to inject."""

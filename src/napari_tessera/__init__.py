"""Turn images into labels."""

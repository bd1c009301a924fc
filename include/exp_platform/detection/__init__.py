"""The detection matrix: every fault at three sizes, and healthy data, go through the platform's own checks."""

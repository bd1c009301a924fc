"""Proof that each failure is seen: every fault at three sizes and healthy seeds, through the platform's own checks."""

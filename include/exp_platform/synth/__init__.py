"""Synthetic experiments: users, their events with and without treatment, the true effects, and faults on purpose."""

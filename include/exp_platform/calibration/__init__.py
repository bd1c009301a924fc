"""Proof by simulation that the inference keeps its promises: `python -m exp_platform.calibration`."""

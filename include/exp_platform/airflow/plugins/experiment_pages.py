"""Airflow looks for plugins in this folder; the plugin itself is in `exp_platform.airflow.pages`."""

from exp_platform.airflow.pages import ExperimentPages

__all__ = ["ExperimentPages"]

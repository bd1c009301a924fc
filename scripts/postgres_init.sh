#!/usr/bin/env bash
# The Iceberg catalog and Airflow's own database, each with an owner of its own; run once, when Postgres is new.
# Passwords come from the environment: psql's arguments could be read in the list of processes.
set -euo pipefail
psql --quiet --set=ON_ERROR_STOP=1 --no-psqlrc --username="$POSTGRES_USER" --dbname=postgres <<'SQL'
\getenv catalog_password EXP_CATALOG_PASSWORD
\getenv airflow_password AIRFLOW_DB_PASSWORD
SET password_encryption = 'scram-sha-256';
CREATE ROLE iceberg LOGIN PASSWORD :'catalog_password';
CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
CREATE DATABASE iceberg OWNER iceberg;
CREATE DATABASE airflow OWNER airflow;
REVOKE CONNECT ON DATABASE iceberg, airflow FROM PUBLIC;
SQL

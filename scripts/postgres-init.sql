-- The Iceberg catalog and Airflow's own database.
CREATE DATABASE iceberg;
CREATE DATABASE airflow;

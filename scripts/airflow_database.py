"""Print the URL of Airflow's database from $AIRFLOW_DB_HOST and $AIRFLOW_DB_PASSWORD, percent-encoded.

Airflow runs this program ($AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD): a password with @ or / would break a URL that is
put together in docker-compose.yml.
"""

import os
from urllib.parse import quote

user = quote(os.environ.get("AIRFLOW_DB_USER", "airflow"), safe="")
password = quote(os.environ["AIRFLOW_DB_PASSWORD"], safe="")
place = f"{os.environ['AIRFLOW_DB_HOST']}:{os.environ.get('AIRFLOW_DB_PORT', '5432')}"
name = quote(os.environ.get("AIRFLOW_DB_NAME", "airflow"), safe="")
# Without an end of line, which Airflow would take for a part of the database's name.
print(f"postgresql+psycopg2://{user}:{password}@{place}/{name}", end="")

"""Print Airflow's connection to the object store as JSON, from $EXP_S3_ENDPOINT, $EXP_S3_ACCESS_KEY and the rest.

Airflow writes tasks' logs there. JSON keeps keys of any characters, which a URI put together elsewhere would not.
Without keys the machine's own role signs the requests, without an endpoint they go to Amazon.
"""

import json
import os

extra: dict[str, object] = {"region_name": os.environ.get("EXP_S3_REGION") or "us-east-1"}
if endpoint := os.environ.get("EXP_S3_ENDPOINT"):
    extra |= {"endpoint_url": endpoint, "config_kwargs": {"s3": {"addressing_style": "path"}}}
about = {"conn_type": "aws", "extra": extra}
if key := os.environ.get("EXP_S3_ACCESS_KEY"):
    about |= {"login": key, "password": os.environ["EXP_S3_SECRET_KEY"]}
print(json.dumps(about), end="")

"""Print Airflow's connection to the object store as JSON, from $EXP_S3_ENDPOINT, $EXP_S3_ACCESS_KEY and the rest.

Airflow writes tasks' logs there. JSON keeps keys of any characters, which a URI put together elsewhere would not.
"""

import json
import os

about = {
    "conn_type": "aws",
    "login": os.environ["EXP_S3_ACCESS_KEY"],
    "password": os.environ["EXP_S3_SECRET_KEY"],
    "extra": {
        "endpoint_url": os.environ["EXP_S3_ENDPOINT"],
        "region_name": os.environ.get("EXP_S3_REGION", "us-east-1"),
        "config_kwargs": {"s3": {"addressing_style": "path"}},
    },
}
print(json.dumps(about), end="")

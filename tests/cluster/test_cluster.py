"""Production as processes: Postgres, an object store, a Spark cluster and Airflow, by the scripts of the containers.

Three experiments run at once, by themselves and by Airflow, and every answer is that of the embedded profile.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta

import pytest
from pyarrow.fs import FileSelector
from tests.cluster.conftest import ThreeRuns
from tests.cluster.rig import EARLIER, IDS, LAST, TINY, Cluster, no_secret_is_found, said_by
from tests.cluster.services import SCRIPTS
from tests.cluster.watch import rows_with, work_in
from tests.e2e.airflow_rig import differing_tables, wait_until

from exp_platform.airflow.client import ApiError, Client
from exp_platform.config.load import Project
from exp_platform.lake.raw_zone import filesystem

pytestmark = [pytest.mark.airflow, pytest.mark.spark, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(3 * 3600)]


def test_three_experiments_at_once_answer_as_the_embedded_profile(
    cluster: Cluster, embedded: Project, three_runs: ThreeRuns
) -> None:
    print(f"\nthree experiments at once, {TINY['n_users']} users each: {three_runs.seconds:.0f} s")
    assert three_runs.codes == dict.fromkeys(IDS, 0), three_runs.said
    for name in IDS:
        assert differing_tables(cluster.project, embedded, name, [LAST]) == []
    assert not any(secret in text for text in three_runs.said.values() for secret in cluster.secrets.values())
    print(*three_runs.work, sep="\n")
    assert len(three_runs.work) == len(IDS)
    assert all("driver" not in work.tasks and sum(work.tasks.values()) > 20 for work in three_runs.work)
    assert all(len(work.tasks) == 2 for work in three_runs.work), "an executor of the two did nothing"
    assert {"SparkSubmit", "CoarseGrainedExecutorBackend"} <= cluster.lines.seen
    no_secret_is_found(cluster)


@pytest.mark.usefixtures("delivered")
def test_airflow_runs_three_experiments_a_day_on_the_cluster(cluster: Cluster, embedded: Project) -> None:
    before = set(work_in(cluster.events))
    start_airflow(cluster)
    client = Client(f"http://127.0.0.1:{cluster.ports.web}", "admin", cluster.environment["AIRFLOW_ADMIN_PASSWORD"])
    for dag_id in ("daily_experiments", "experiment_analysis"):
        unpause(client, dag_id)
    firing = (EARLIER + timedelta(days=1)).isoformat()
    words = ["--dag-id", "daily_experiments", "--from-date", firing, "--to-date", firing]
    began = time.monotonic()
    created = cluster.run("airflow", "backfill", "create", *words)
    said = said_by(created)
    assert created.returncode == 0, said[-3000:]
    wait_until("the day ends", lambda: ended(client), 5400, every=5)
    print(f"\ndaily_experiments with three experiments on the cluster: {time.monotonic() - began:.0f} s")
    print(*(work for name, work in work_in(cluster.events).items() if name not in before), sep="\n")

    assert states(client) == {"success": 1 + len(IDS)}
    for name in IDS:
        assert differing_tables(cluster.project, embedded, name, [EARLIER]) == []
    no_secret_is_found(cluster)
    logs = logs_in_the_store(cluster)
    assert any(b"spark-submit" in log for log in logs), "no log of a task was searched"
    assert not any(secret.encode() in log for log in logs for secret in cluster.secrets.values())
    # Rendered templates, XComs and the arguments of tasks lie in Airflow's database, as text or as JSON.
    database = cluster.airflow_database
    assert {"task_instance", "xcom", "rendered_task_instance_fields"} <= set(rows_with(database, ["exp_good"]))
    assert rows_with(database, cluster.secrets.values()) == []


def logs_in_the_store(cluster: Cluster) -> list[bytes]:
    """The logs of the tasks that have ended, which Airflow has sent to the store."""
    files, folder = filesystem(cluster.project, cluster.environment["AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER"])
    found = files.get_file_info(FileSelector(folder, recursive=True))
    return [files.open_input_stream(log.path).read() for log in found if log.is_file]


def ended(client: Client) -> bool:
    """True when the day's run has ended, well or not."""
    try:
        runs = client.get("/dags/daily_experiments/dagRuns?run_type=backfill")["dag_runs"]
    except TimeoutError:
        return False
    return bool(runs) and all(run["state"] in ("success", "failed") for run in runs)


def states(client: Client) -> Counter[str]:
    """How many runs have each state: the backfilled day, and the runs of experiments that it has started.

    The schedule starts a run of its own of the day before today, for which no experiment is due.
    """
    days = client.get("/dags/daily_experiments/dagRuns?run_type=backfill")["dag_runs"]
    runs = client.get("/dags/experiment_analysis/dagRuns")["dag_runs"]
    return Counter(run["state"] for run in (*days, *runs))


def start_airflow(cluster: Cluster) -> None:
    script = str(SCRIPTS / "airflow.sh")
    init = cluster.run(script, "init")
    said = said_by(init, 900)
    assert init.returncode == 0, said[-3000:]
    services, environment = cluster.services, cluster.environment
    services.start("api-server", [script, "api-server"], [cluster.ports.web], environment)
    for part in ("scheduler", "dag-processor", "triggerer"):
        services.start(part, [script, part], (), environment)


def unpause(client: Client, dag_id: str) -> None:
    """Let a DAG run, as a person does after the first start: Airflow pauses each new one."""

    def done() -> bool:
        try:
            client.send("PATCH", f"/dags/{dag_id}", {"is_paused": False})
        except OSError as error:
            if isinstance(error, ApiError) and error.status != 404:
                raise
            return False  # the DAG is not read yet, or the server is busy with its own start
        return True

    wait_until(f"{dag_id} is read", done, 900, every=5)

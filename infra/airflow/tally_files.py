"""The DAG tally_files: waits for the day's file, then runs csv-runner on it.

For Airflow 2.4 and later and Airflow 3. Each setting is a variable of the environment of the scheduler and the workers:

    CSV_RUNNER        the program                                    csv-runner
    CSV_RUNNER_FLOW   --flow                                         transactions
    CSV_RUNNER_FILE   the day's file, a template of Airflow          see DAY_FILE
    DATABASE_URL      where to, read by csv-runner itself: in a flag `ps` would show its password

csv-runner reads its other settings from the same environment, too. It refuses names that begin with TALLY_ and are not
its settings (78), so the DAG's own do not.
"""

from __future__ import annotations

import os
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

try:
    from airflow.sdk import DAG, BaseOperator, task
except ImportError:  # Airflow 2
    from airflow.decorators import task
    from airflow.models.baseoperator import BaseOperator
    from airflow.models.dag import DAG
try:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException
except ImportError:  # Airflow 2, and 3.0
    from airflow.exceptions import AirflowException, AirflowFailException

# The day on which a scheduled run starts, in UTC: `ds` alone is the day before in Airflow 2 and the day itself in Airflow 3.
DAY_FILE = "/var/lib/tally/inbox/{{ data_interval_end | ds }}.csv"

# The exit codes after which the same call may succeed: the README lists all.
RETRIED = {
    69: "a dependency stayed unavailable",
    75: "another process owns the file",
    130: "it was interrupted",
    143: "it was stopped",
}


class CsvRunner(BaseOperator):
    """Runs csv-runner on one file.

    It is idempotent: a retry goes on at the row after the last commit, and a file that is done is not read again.
    """

    template_fields = ("file",)

    def __init__(self, *, file: str, flow: str, program: str, **kwargs):
        super().__init__(**kwargs)
        self.file = file
        self.flow = flow
        self.program = program
        self.process = None

    def execute(self, context):
        command = [self.program, self.file, "--flow", self.flow, "--summary", "json"]
        try:
            # Lines of both streams go through print to the task's log, in each version of Airflow.
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
            )
        except OSError as error:
            raise AirflowFailException(f"cannot start {self.program}: {error}") from error
        with self.process:
            for line in self.process.stdout:
                print(line, end="")
        code = self.process.returncode
        if code == 0:
            return
        if code < 0:
            raise AirflowException(f"{self.program} was killed by signal {-code}")
        if code in RETRIED:
            raise AirflowException(f"{self.program} exited with {code}: {RETRIED[code]}")
        raise AirflowFailException(f"{self.program} exited with {code}: no retry can help, see the log above")

    def on_kill(self):
        # It commits what is in flight and exits with 143.
        if self.process is not None:
            self.process.terminate()


with DAG(
    dag_id="tally_files",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
) as dag:

    @task.sensor(poke_interval=60, timeout=12 * 3600, mode="reschedule")
    def wait_for(path: str) -> bool:
        """Whoever delivers a file writes it under another name and renames it: a file that grows while it is read ends in 65."""
        return Path(path).is_file()

    file = os.environ.get("CSV_RUNNER_FILE", DAY_FILE)
    load = CsvRunner(
        task_id="load",
        file=file,
        flow=os.environ.get("CSV_RUNNER_FLOW", "transactions"),
        program=os.environ.get("CSV_RUNNER", "csv-runner"),
        retries=8,
        retry_delay=timedelta(minutes=5),
        retry_exponential_backoff=True,
        max_retry_delay=timedelta(hours=1),
    )
    wait_for(file) >> load

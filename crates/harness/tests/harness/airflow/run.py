"""run.py VERSION DAG_FILE DAY: pokes the sensor of the DAG once and runs its job once, on as much of Airflow 2 or 3 as the file may use.

Prints one JSON object at the end. SIGTERM calls on_kill, as Airflow does.
"""

import json
import runpy
import signal
import sys
from types import ModuleType

version, path, day = sys.argv[1:]
tasks, edges, dags = {}, [], []


class AirflowException(Exception):
    pass


class AirflowFailException(AirflowException):
    pass


class DAG:
    def __init__(self, *, dag_id, schedule, start_date, catchup, max_active_runs):
        self.settings = {
            "dag_id": dag_id,
            "schedule": schedule,
            "start_date": start_date.isoformat(),
            "catchup": catchup,
            "max_active_runs": max_active_runs,
        }

    def __enter__(self):
        dags.append(self)
        return self

    def __exit__(self, *_):
        pass


class BaseOperator:
    template_fields = ()

    def __init__(
        self, *, task_id, retries=0, retry_delay=None, retry_exponential_backoff=False, max_retry_delay=None
    ):
        self.task_id, self.retries = task_id, retries
        tasks[task_id] = self

    def __rshift__(self, other):
        edges.append([self.task_id, other.task_id])
        return other

    def render(self):
        for name in self.template_fields:
            rendered = getattr(self, name).replace("{{ data_interval_end | ds }}", day)
            assert "{" not in rendered, rendered
            setattr(self, name, rendered)


class Sensor(BaseOperator):
    template_fields = ("path",)

    def __init__(self, poke, path):
        super().__init__(task_id=poke.__name__)
        self.poke, self.path = poke, path


class task:
    @staticmethod
    def sensor(*, poke_interval, timeout, mode):
        assert mode in ("poke", "reschedule") and 0 < poke_interval < timeout
        return lambda poke: lambda path: Sensor(poke, path)


def module(name, **contents):
    found = sys.modules[name] = ModuleType(name)
    found.__dict__.update(contents)


exceptions = {"AirflowException": AirflowException, "AirflowFailException": AirflowFailException}
module("airflow")
if version == "2":
    module("airflow.exceptions", **exceptions)
    module("airflow.decorators", task=task)
    module("airflow.models")
    module("airflow.models.baseoperator", BaseOperator=BaseOperator)
    module("airflow.models.dag", DAG=DAG)
else:
    module("airflow.sdk", BaseOperator=BaseOperator, DAG=DAG, task=task)
    module("airflow.sdk.exceptions", **exceptions)

runpy.run_path(path)
for operator in tasks.values():
    operator.render()
sensor, load = tasks["wait_for"], tasks["load"]
signal.signal(signal.SIGTERM, lambda *_: load.on_kill())

found = {"dags": [dag.settings for dag in dags], "edges": edges, "retries": load.retries}
found["is_there"] = sensor.poke(sensor.path)
found["error"], found["message"] = None, None
try:
    load.execute({})
except AirflowException as error:
    found["error"], found["message"] = type(error).__name__, str(error)
print(json.dumps(found))

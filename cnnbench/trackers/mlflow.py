"""MLflow: a run in a store on this disk or, where MLFLOW_TRACKING_URI names one, on a server."""

import logging
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cnnbench.config.settings import FolderPath, spell
from cnnbench.disk import locked
from cnnbench.errors import DataError
from cnnbench.trackers.contact_sheet import contact_sheet
from cnnbench.trackers.tracker import Beginning, Numbers, flat, results_of

SERVER = "MLFLOW_TRACKING_URI"
RUN_ID, ERROR = "cnnbench_run_id", "error"
TAGS = ("model", "data", "version", "torch", "config_hash", "group_hash")
STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
MOST = 100  # parameters in a request
SECONDS_TO_ANSWER = 10


class MLflow:
    """Parameters, metrics by epoch, sample images and summary.json of a run.

    Args:
        store: a folder that all runs of a project share; a server is named by the environment alone, so that the config
            in a run folder of unknown origin sends nothing anywhere.
        experiment: under what name MLflow lists the run.
    """

    def __init__(self, folder: Path, *, store: FolderPath, experiment: str) -> None:
        set_up()
        import mlflow  # noqa: F401

        self.folder = folder
        self.store = Path(store)
        self.experiment = experiment
        self.epoch = 0
        self._known: set[tuple[str, int]] = set()  # name and epoch of the metrics that the store has

    def start(self, beginning: Beginning) -> None:
        from mlflow import MlflowClient

        server = os.environ.get(SERVER)
        if server:
            refuse_unreachable(server)
            self.client = MlflowClient(server)
            experiment_id = self._experiment_id()
        else:
            self._make_store(goes_on=bool(beginning.epochs))
            with locked(self.store / ".lock", "choose another folder with logging.mlflow.store=PATH"):
                self.client = MlflowClient(str(self.store))
                experiment_id = self._experiment_id()
        tags = {RUN_ID: beginning.run_id} | {key: str(beginning.summary.get(key)) for key in TAGS}
        found = self.client.search_runs([experiment_id], f"tags.`{RUN_ID}` = '{beginning.run_id}'", max_results=1)
        run = found[0] if found else self.client.create_run(experiment_id, tags=tags, run_name=self.folder.name)
        self.run_id = run.info.run_id
        if found:
            self._go_on(run)
        self._log_config(beginning.config, known=run.data.params)
        self.client.log_image(self.run_id, contact_sheet(beginning.images), "sample_images.png")
        for numbers in beginning.epochs:
            self.log_epoch(numbers)

    def log_epoch(self, numbers: Numbers) -> None:
        self.epoch = int(numbers["epoch"])
        self._log(numbers)

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._log(results_of(summary))
        self.client.log_dict(self.run_id, dict(summary), "summary.json")
        if summary["error"]:
            self.client.set_tag(self.run_id, ERROR, summary["error"])
        self.client.set_terminated(self.run_id, STATUS[summary["status"]])

    def _make_store(self, *, goes_on: bool) -> None:
        if goes_on and not self.store.is_dir():
            raise DataError(f"{self.store}: the store of this run is not there")
        self.store.mkdir(parents=True, exist_ok=True)

    def _experiment_id(self) -> str:
        found = self.client.get_experiment_by_name(self.experiment)
        return str(found.experiment_id if found else self.client.create_experiment(self.experiment))

    def _go_on(self, run: Any) -> None:
        """Takes up a run of the store, in which nothing that it knows already is to stand twice."""
        self.client.update_run(self.run_id, status="RUNNING")
        if ERROR in run.data.tags:
            self.client.delete_tag(self.run_id, ERROR)
        histories = {name: self.client.get_metric_history(self.run_id, name) for name in run.data.metrics}
        self._known = {(name, metric.step) for name, history in histories.items() for metric in history}

    def _log_config(self, config: Mapping[str, Any], known: Iterable[str]) -> None:
        """What the store knows stays: MLflow lets no parameter change, as the epochs of a lengthened run do."""
        from mlflow.entities import Param

        new = [Param(key, spell(value)) for key, value in flat(config, ".").items() if key not in known]
        for start in range(0, len(new), MOST):
            self.client.log_batch(self.run_id, params=new[start : start + MOST])

    def _log(self, numbers: Numbers) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        new = {
            name: value for name, value in numbers.items() if name != "epoch" and (name, self.epoch) not in self._known
        }
        metrics = [Metric(name, value, now, self.epoch) for name, value in new.items()]
        self.client.log_batch(self.run_id, metrics=metrics)


def refuse_unreachable(server: str) -> None:
    """Tries once whether a server answers: MLflow tries for minutes, which is right while a run is under way.

    Raises:
        requests.RequestException: it does not.
    """
    import requests

    if server.startswith(("http://", "https://")):
        requests.get(server, timeout=SECONDS_TO_ANSWER, stream=True).close()


def set_up() -> None:
    """Has this process's MLflow tell nobody of its use, write into a folder, and be silent."""
    for switch in ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_ALLOW_FILE_STORE", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"):
        os.environ.setdefault(switch, "true")
    for name in ("mlflow", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)

"""Jobs as tasks of Ray. A task whose node is lost goes to another, which goes on from the job's last checkpoint."""

import os
from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn

from cnnbench.errors import UnavailableError
from cnnbench.sweeps.isolation import run_order

TRIES_ELSEWHERE = 10  # of a task that was lost with its process or node


class RayLauncher:
    """A launcher as Hydra has them. `address` names a cluster (`auto`, HOST:PORT); null stands for RAY_ADDRESS or,
    where that is not set, for a Ray of this machine that ends with the sweep. Ray sets `cpus_per_job` and
    `gpus_per_job` aside for each job."""

    def __init__(self, *, address: str | None, cpus_per_job: float, gpus_per_job: float) -> None:
        self.address = address
        self.resources: dict[str, Any] = {"num_cpus": cpus_per_job, "num_gpus": gpus_per_job}

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the jobs, each of which has its order as its one override; what a task has failed by is returned.

        Raises:
            UnavailableError: Ray is not installed, or the cluster does not answer.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError:
            raise UnavailableError("sweep=ray: Ray is not installed; pip install 'cnnbench[ray]'") from None
        try:
            ray.init(address=self.address, log_to_driver=False, configure_logging=False)
        except ConnectionError as error:
            first = str(error).splitlines()[0]
            raise UnavailableError(f"hydra.launcher.address={self.address}: {first}; start it with ray start") from None
        try:
            task = ray.remote(run_order).options(max_retries=TRIES_ELSEWHERE, **self.resources)
            return [_returned(ray, reference) for reference in [task.remote(text) for (text,) in job_overrides]]
        finally:
            ray.shutdown()


def _returned(ray: Any, reference: Any) -> JobReturn:
    result = JobReturn()
    try:
        result._return_value = ray.get(reference)
    except ray.exceptions.RayError as error:
        result._return_value = error
    return result

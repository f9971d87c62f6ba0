import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sweeps.slurm import slurm_cluster
from tiny import TINY

from cnnbench.runs.read import read_summary

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
MAIN = "from cnnbench.cli import main; main()"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A cluster, for as long as the tests of this module run."""
    if importlib.util.find_spec("hydra_plugins.hydra_submitit_launcher") is None:
        pytest.skip("needs hydra-submitit-launcher")
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as config:
        yield config


def test_a_sweep_on_slurm_trains_each_job(slurm, tmp_path):
    launcher = ["hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=5", "hydra.launcher.cpus_per_task=1"]
    command = ["train", "-m", *TINY, "seed=0,1,2", *launcher, f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", MAIN, *command]  # whose variables its jobs inherit, by sbatch
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=variables, timeout=300)
    assert done.returncode == 0, done.stderr
    runs = sorted(path.parent for path in (tmp_path / "sweep").glob("*/summary.json"))
    assert [read_summary(run)["status"] for run in runs] == ["finished"] * 3

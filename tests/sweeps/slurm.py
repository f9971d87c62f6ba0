"""A real SLURM of one node, this machine, that a test starts and stops: `with slurm_cluster(folder): ...`.

Debian: `apt-get install slurm-wlm munge`. It has ports, a key, a socket and folders of its own, so that another
SLURM or munge of this machine is neither found nor disturbed. Meanwhile `sbatch`, `srun`, `squeue`, `scancel` and
`scontrol` of this process and its children speak to it, for they follow SLURM_CONF, and that names the socket of its
munge. `sacct` alone is not SLURM's but the one written below: without a database for accounts SLURM's fails, submitit
then takes every job's state for unknown, and waits for ever for a job that was killed before it left a result.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sinfo", "sbatch", "srun", "scancel", "scontrol")
PATIENCE = 60.0
LONGEST_SOCKET = 107
CONFIG = """\
ClusterName=cnnbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,bf_interval=1,sched_interval=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=5
MinJobAge=86400
ReturnToService=2
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=usual Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes={host} MaxTime=INFINITE State=UP PriorityTier=2
"""
"""`cred_expire`: a job that is requeued begins after that many seconds and one (120 by default), not at once. A job
in `urgent` preempts those in `usual`, which are requeued. `MinJobAge`: `sacct` can ask for jobs that have ended."""

SACCT = '''\
#!{python} -I
"""Not SLURM's: what submitit reads of `sacct -o JobID,State,NodeList --parsable2 -j ID`, from `scontrol show job`."""
import re
import subprocess
import sys

print("JobID|State|NodeList")
for before, number in zip(sys.argv, sys.argv[1:]):
    if before != "-j":
        continue
    shown = subprocess.run(["scontrol", "show", "job", "--oneliner", number], capture_output=True, text=True)
    for line in shown.stdout.splitlines():
        job = dict(re.findall(r"(\\w+)=(\\S*)", line))
        name = f"{{job['ArrayJobId']}}_{{job['ArrayTaskId']}}" if "ArrayJobId" in job else job["JobId"]
        if re.search("[-,%]", name):  # jobs of an array that have not begun
            name = re.sub("_(.*)", r"_[\\1]", name)
        state, nodes = job["JobState"], job.get("NodeList", "")
        state += " by " + job["UserId"].strip(")").rpartition("(")[2] if state == "CANCELLED" else ""
        print(name, state, "None assigned" if nodes in ("", "(null)") else nodes, sep="|")
'''


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[Path]:
    """A cluster with two partitions, `usual` (the default) and `urgent`, that keeps all it has in `folder`, logs too.

    Gives its slurm.conf. At the end, come how it may, its jobs are cancelled and its processes gone, and so is every
    other process that has got its environment, as a sweep that has not come to an end. Only where this process is
    killed (SIGKILL) its jobs go on; the daemons end even then. Skips the test where this user or this machine cannot
    run one.
    """
    reason = why_not()
    if reason:
        pytest.skip(reason)
    if len(os.fsencode(folder / "munge.socket")) > LONGEST_SOCKET:
        raise ValueError(f"{folder}: too long a name for the folder of a socket")
    folder.mkdir(parents=True, exist_ok=True)
    config = write_config(folder)
    with pytest.MonkeyPatch.context() as environment, ExitStack() as at_end:
        for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_", "SRUN_", "SCANCEL_"))]:
            environment.delenv(name)  # as where the tests are themselves a job
        environment.setenv("SLURM_CONF", str(config))
        environment.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{path_of_daemons()}")
        at_end.callback(kill_all_of, config)
        options = [f"--socket={socket_of(folder)}"]
        options += [f"--{name}-file={folder / 'munge'}.{name}" for name in ("key", "log", "pid", "seed")]
        at_end.enter_context(daemon(folder, "munged", "--foreground", "--force", *options))
        wait_until(socket_of(folder).exists, "munged", folder)
        at_end.enter_context(daemon(folder, "slurmctld", "-D", "-f", str(config)))
        at_end.enter_context(daemon(folder, "slurmd", "-D", "-f", str(config)))
        wait_until(is_idle, "slurm", folder)
        at_end.callback(cancel_all)
        yield config


def why_not() -> str | None:
    """What keeps a cluster from running here."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=path_of_daemons())]
    if missing:
        return f"needs SLURM and munge: no {', '.join(missing)}"
    return None if os.geteuid() == 0 else "needs root, to start SLURM's daemons"


def path_of_daemons() -> str:
    """PATH, and where Debian has daemons, which a user's PATH may lack."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def socket_of(folder: Path) -> Path:
    """Where the cluster's munge listens."""
    return folder / "munge.socket"


def write_config(folder: Path) -> Path:
    """Writes all that the daemons read, and the `sacct` of the cluster; gives slurm.conf."""
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    sacct = folder / "bin/sacct"
    sacct.write_text(SACCT.format(python=sys.executable))
    sacct.chmod(0o755)
    controller_port, node_port = free_ports(2)
    values = {"controller_port": controller_port, "node_port": node_port, "cpus": os.cpu_count()}
    config = folder / "slurm.conf"
    config.write_text(CONFIG.format(folder=folder, host=socket.gethostname().partition(".")[0], **values))
    return config


def free_ports(count: int) -> list[int]:
    """Ports of this machine on which nothing listens."""
    with ExitStack() as closing:
        sockets = [closing.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def daemon(folder: Path, *command: str) -> Iterator[None]:
    """Runs a program in the background: it ends with the block, or with the thread that has started it."""
    with (folder / f"{command[0]}.out").open("wb") as out:
        wrapped = ["setpriv", "--pdeathsig", "TERM", *command]
        process = subprocess.Popen(wrapped, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE / 6)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(happened: Callable[[], bool], name: str, folder: Path) -> None:
    """Waits for `happened`, and fails with what the daemons have said where it takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > deadline:
            said = [f"{path.name}: {path.read_text()[-2000:]}" for path in sorted(folder.glob("*.out"))]
            raise TimeoutError("\n".join([f"{name} does not answer", *said]))
        time.sleep(0.1)


def ask(*command: str) -> str:
    """What one of SLURM's programs says; nothing where it failed."""
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stdout.strip()


def is_idle() -> bool:
    """Whether the node waits for jobs."""
    return set(ask("sinfo", "--noheader", "--format=%T").split()) == {"idle"}


def cancel_all() -> None:
    """Cancels all jobs, and waits some seconds until they have ended."""
    deadline = time.monotonic() + PATIENCE / 6
    while jobs := ask("squeue", "--noheader", "--format=%A").split():
        ask("scancel", *jobs)
        if time.monotonic() > deadline:
            ask("scancel", "--signal=KILL", "--full", *jobs)
            return
        time.sleep(0.2)


def kill_all_of(config: Path) -> None:
    """Kills what is left of the cluster: the processes that began with its SLURM_CONF, but for this one."""
    while left := processes_of(config):
        for number in left:
            try:
                os.kill(number, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)


def processes_of(config: Path) -> Sequence[int]:
    """The living processes, but for this one, that have begun with this SLURM_CONF in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = f"SLURM_CONF={config}".encode() in (path / "environ").read_bytes().split(b"\0")
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:  # it has ended
            continue
        if is_ours and state != "Z" and int(path.name) != os.getpid():
            found.append(int(path.name))
    return found

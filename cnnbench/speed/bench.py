"""What configs do on this machine in each policy: throughput, latency, memory, and the share of the peak they reach."""

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from cnnbench.arithmetic import computes_in
from cnnbench.assemble import configured_device, rehearse
from cnnbench.config.run_config import RunConfig
from cnnbench.console import note
from cnnbench.data import Source
from cnnbench.data.find import find_data
from cnnbench.device import (
    Compile,
    Device,
    Policy,
    candidate_policies,
    describe_compute,
    is_out_of_memory,
    make_device,
)
from cnnbench.errors import CnnbenchError, ConfigError, DataError, first_line
from cnnbench.machine import describe_machine
from cnnbench.models.describe import Description
from cnnbench.progress import waiting
from cnnbench.speed.peak import Peaks, measure_peaks
from cnnbench.speed.stopwatch import take_turns
from cnnbench.speed.timed import EVALUATION, LATENCY_BATCHES, TimedConfig

TRAINING = "training"
SAMPLES, SAMPLE_SECONDS = 10, 4.0
BUSY = 0.5

Times = dict[str, dict[str, list[float]]]  # by what is timed, then by policy
Roofs = dict[str, Peaks]  # by device
Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A checked config with what it stands for on this machine; `device` is the policy a run of it would take."""

    overrides: Sequence[str]
    config: RunConfig
    source: Source
    description: Description
    device: Device


def prepare(jobs: Sequence[tuple[Sequence[str], RunConfig]]) -> list[Job]:
    """The jobs with everything that can be wrong with them looked at; no data is read or downloaded.

    Raises:
        ConfigError: with one line for everything that does not fit together in any of them.
        DataError: a data set whose image shape only its files tell is not there.
        UnavailableError: this machine does not have the device.
    """
    prepared: list[Job] = []
    findings: dict[str, None] = {}
    for overrides, config in jobs:
        try:
            source = _find_shape(config.data)
            _, description = rehearse(config, source, None)
            prepared.append(Job(overrides, config, source, description, configured_device(config)))
        except ConfigError as error:
            findings |= dict.fromkeys(error.findings)
    if findings:
        raise ConfigError(*findings)
    return prepared


def _find_shape(node: Mapping[str, Any]) -> Source:
    try:
        return find_data(dict(node) | ({"download": False} if "download" in node else {}))
    except DataError as error:
        if "download" not in node:
            raise
        missing = error.findings[0].partition(";")[0]
        raise DataError(f"{missing}; `cnnbench data {node['name']}` downloads it") from None


def measure(jobs: Sequence[Job], rounds: int) -> dict[str, Any]:
    """One document: `machine`, `load_average` before and after, `peak_gflops` by device and precision, and in
    `results` a row for each policy of each job. The policies of a job take turns in `rounds` rounds."""
    load = look_at_load()
    kinds = list(dict.fromkeys(job.device.torch_device.type for job in jobs))
    with waiting("measuring the peak of matrix products"):
        peaks = _peaks(kinds)
    measured: list[tuple[Job, Row]] = []
    with waiting("measuring", len(jobs)) as wait:
        for number, job in enumerate(jobs, start=1):
            name = " ".join(job.overrides) or job.config.model["name"]
            wait.show(f"measuring {number} of {len(jobs)}: {name}")
            measured += [(job, row) for row in measure_job(job, rounds)]
            wait.advance()
    for kind, rates in _peaks(kinds).items():  # again: a neighbour may have been busy the first time
        peaks[kind] |= {precision: max(rate, peaks[kind].get(precision, 0)) for precision, rate in rates.items()}
    return {
        "machine": describe_machine() | describe_compute(),
        "load_average": [round(load, 2), round(os.getloadavg()[0], 2)],
        "peak_gflops": {kind: {name: rate / 1e9 for name, rate in rates.items()} for kind, rates in peaks.items()},
        "results": [row | utilisation(job, row, peaks) for job, row in measured],
    }


def look_at_load() -> float:
    """The load of the machine, after a note where it is busy."""
    load = os.getloadavg()[0]
    if load > BUSY:
        note(f"the machine is busy (load {load:.2f}): what is measured now is slower than it is and varies")
    return load


def utilisation(job: Job, row: Row, peaks: Roofs) -> Row:
    """The share of the peak in the row's precision that its training and its inference reach; null without either."""
    peak = peaks[row["device"]].get(row["precision"])
    flops = {"training": row["training_flops"], "inference": 2 * job.description.macs}
    rates = {what: row[f"{what}_images_per_second"] for what in flops}
    return {f"{what}_utilisation": rate * flops[what] / peak if rate and peak else None for what, rate in rates.items()}


def _peaks(kinds: Sequence[str]) -> Roofs:
    numbers = {kind: [policy.precision for policy in candidate_policies(kind)] for kind in kinds}
    return {kind: measure_peaks(kind, [*precisions, "int8"]) for kind, precisions in numbers.items()}


def measure_job(job: Job, rounds: int) -> list[Row]:
    """A row for each policy of the job; its numbers are null where `problem` says why there are none."""
    rows: dict[str, Row] = {}
    contenders: dict[str, TimedConfig] = {}
    for policy, compile in variants(job.config.device, job.device):
        name = f"{policy} {compile}"
        rows[name] = empty_row(job, policy, compile)
        contender, rows[name]["problem"] = enter(job, policy, compile)
        if contender:
            contenders[name] = contender
    try:
        times = time_in_turns(contenders, rounds) if contenders else {}
    except (CnnbenchError, RuntimeError, MemoryError) as error:  # what fits alone may not fit side by side
        return [row | {"problem": row["problem"] or first_line(error)} for row in rows.values()]
    for name, contender in contenders.items():
        rows[name] |= speeds(contender, {kind: seconds[name] for kind, seconds in times.items()})
    return list(rows.values())


def variants(node: Mapping[str, Any], device: Device) -> list[tuple[Policy, Compile]]:
    """The policies to measure, each with whether to compile: of what the config leaves to `auto` every form, of what
    it states that one. Where it leaves something and asks for compilation, also each policy without."""
    stated = Policy(device.precision, device.memory_format)
    if "auto" not in node.values():
        return [(stated, device.compile)]
    wanted = [
        policy
        for policy in candidate_policies(device.torch_device.type)
        if all(node[key] in ("auto", value) for key, value in policy._asdict().items())
    ]
    return [(policy, compile) for policy in wanted for compile in dict.fromkeys((False, device.compile))]


def enter(job: Job, policy: Policy, compile: Compile) -> tuple[TimedConfig | None, str | None]:
    """The job in one policy, tried out, and what is wrong with it. Out of memory, half of the batch is tried, and half
    of that. A precision that is emulated is measured only where the config states it."""
    kind, size = job.device.torch_device.type, job.config.batch_size
    if job.config.device.get("precision") == "auto" and not computes_in(policy.precision, kind):
        return (
            None,
            "emulated: trains at less than half the speed of fp32; state the precision to measure it all the same",
        )
    for batch_size in dict.fromkeys((size, max(size // 2, 1), max(size // 4, 1))):
        try:
            contender = TimedConfig(
                job.config, job.source, make_device(kind, *policy, compile, job.device.threads), batch_size
            )
            contender.try_out()
        except (CnnbenchError, RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                return None, first_line(error)
        else:
            return contender, None if batch_size == size else f"out of memory at batch {size}"
    return None, f"out of memory at batch {size} and at a quarter of it"


def time_in_turns(contenders: Mapping[str, TimedConfig], rounds: int) -> Times:
    """The seconds of the training steps, and of forward passes `SAMPLES` times as often or until they get too long."""
    times = {TRAINING: take_turns({name: contender.train for name, contender in contenders.items()}, rounds)}
    for contender in contenders.values():
        contender.prepare_inference()
    for kind in (*LATENCY_BATCHES, EVALUATION):
        actions = {name: partial(contender.forward, kind) for name, contender in contenders.items()}
        together = sum(contender.seconds[kind] for contender in contenders.values())
        times[kind] = take_turns(actions, max(rounds, min(SAMPLES * rounds, int(SAMPLE_SECONDS / together))))
    return times


def empty_row(job: Job, policy: Policy, compile: Compile) -> Row:
    """What is known before anything is measured, and null for the rest."""
    return {
        "overrides": list(job.overrides),
        "model": job.config.model["name"],
        "data": job.config.data["name"],
        "batch_size": job.config.batch_size,
        "device": job.device.torch_device.type,
        **policy._asdict(),
        "compile": compile,
        "threads": job.device.threads,
        "training_images_per_second": None,
        "training_images_per_second_range": None,
        "inference_images_per_second": None,
        "latency_ms": None,
        "peak_memory_bytes": None,
        "macs": job.description.macs,
        "training_flops": None,
        "parameters": job.description.parameters,
        "training_utilisation": None,
        "inference_utilisation": None,
        "problem": None,
    }


def speeds(contender: TimedConfig, times: Mapping[str, Sequence[float]]) -> Row:
    """The part of a row that the clock fills in."""
    images = contender.steps * contender.batch_size
    return {
        "batch_size": contender.batch_size,
        "training_images_per_second": images / statistics.median(times[TRAINING]),
        "training_images_per_second_range": [images / max(times[TRAINING]), images / min(times[TRAINING])],
        "inference_images_per_second": 2 * contender.batch_size / statistics.median(times[EVALUATION]),
        "latency_ms": {kind: percentiles_ms(times[kind]) for kind in LATENCY_BATCHES},
        "peak_memory_bytes": contender.memory_bytes,
        "training_flops": contender.training_flops,
    }


def percentiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """The median and what 95 of 100 stay below, in milliseconds."""
    return {f"p{percent}": 1000 * float(np.percentile(seconds, percent)) for percent in (50, 95)}

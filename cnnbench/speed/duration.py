"""How long runs will take, from a few steps of each."""

import statistics
from collections.abc import Mapping
from functools import partial

from cnnbench.assemble import configured_device, rehearse
from cnnbench.config.run_config import RunConfig
from cnnbench.data import Source
from cnnbench.data.find import find_data, read_splits
from cnnbench.device import Device
from cnnbench.errors import ConfigError, DataError
from cnnbench.machine import LoadMeter
from cnnbench.progress import waiting
from cnnbench.speed.advisor import free_threads, with_policy
from cnnbench.speed.stopwatch import seconds_of
from cnnbench.speed.timed import EVALUATION, TimedConfig

WARM_UP, STEPS = 2, 5


def time_runs(configs: Mapping[str, RunConfig], metric: str) -> dict[str, float]:
    """The expected seconds of a run of each config, all of the same data, by name; reads the data.

    Raises:
        ConfigError: with one line for everything that does not fit together in one of them.
        DataError: the data are not there, or cannot give the metric.
    """
    if not configs:
        return {}
    load = LoadMeter()
    first = next(iter(configs.values()))
    source = find_data(first.data)
    if metric.startswith("test_") and not source.has_test:
        raise DataError(f"data={source.name}: has no test split for {metric}; take metric=best_val_accuracy")
    findings: list[str] = []
    for name, config in configs.items():
        try:
            rehearse(config, source, None)
        except ConfigError as error:
            findings += [f"{name}: {finding}" for finding in error.findings]
    if findings:
        raise ConfigError(*findings)
    with waiting("reading images"):
        splits = read_splits(source, first.data, first.seed)
    images = len(splits.train), len(splits.val)
    threads = free_threads(load.load())
    seconds = {}
    with waiting("timing a few steps of each variant", len(configs)) as wait:
        for name, config in configs.items():
            seconds[name] = expected_seconds(config, source, policy_of_a_run(config, threads), *images)
            wait.advance()
    return seconds


def policy_of_a_run(config: RunConfig, threads: int) -> Device:
    """What the config says, and by rule what it leaves open; of the threads so many."""
    device = configured_device(config)
    return with_policy(device, threads=threads) if config.device.get("threads") == "auto" else device


def expected_seconds(config: RunConfig, source: Source, device: Device, train_images: int, val_images: int) -> float:
    """Training and validation of all epochs, roughly: what changes late in a run is not seen at its start."""
    contender = TimedConfig(config, source, device, config.batch_size)
    for _ in range(WARM_UP):
        contender.train()
    step = statistics.median(seconds_of(contender.train) for _ in range(STEPS))
    contender.prepare_inference()
    contender.forward(EVALUATION)
    evaluation = seconds_of(partial(contender.forward, EVALUATION))
    batches = train_images / config.batch_size
    return config.epochs * (batches * step + val_images / (2 * config.batch_size) * evaluation)

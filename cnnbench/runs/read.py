"""A run folder read. It may come from elsewhere: nothing in it is trusted."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnnbench.config.plain_yaml import UNREADABLE, read_yaml
from cnnbench.config.run_config import RunConfig, check_config
from cnnbench.config.settings import Count, PositiveInt, accepts, in_words
from cnnbench.config.tables import LIST_GROUPS
from cnnbench.disk import read_regular
from cnnbench.errors import ConfigError, DataError, DivergedError
from cnnbench.runs.format import CONFIG, FORMAT, METRICS, SUMMARY, summary_sha256
from cnnbench.runs.identity import config_hash

ACTED_ON: dict[str, Any] = {
    "status": str | None,
    "config_hash": str | None,
    "test_reads": Count | None,
    "lengthened": list[dict[str, Any]] | None,
}
"""Of a summary what decides what is done with its run, or is computed with; each may be null."""


LATER: dict[tuple[str, Any], dict[str, Any]] = {("pruning", "filter"): {"finalize": "masks"}}
"""By group and choice the settings that came later, each with the value that runs had without it."""


def failed_runs(sweep: Path) -> list[str]:
    """One line `<folder>: <error>` for each run directly in `sweep` that failed or whose summary cannot be read."""
    failures: list[str] = []
    for path in filter(is_run, sorted(sweep.iterdir()) if sweep.exists() else []):
        try:
            summary = read_summary(path)
        except DataError as error:
            failures += error.findings
            continue
        if summary.get("status") == "failed":
            failures.append(f"{path}: {'; '.join(str(summary.get('error')).splitlines())}")
    return failures


def is_run(path: Path) -> bool:
    """Whether `path` is a folder with a summary.json."""
    return (path / SUMMARY).is_file()


def summary_of(path: Path) -> dict[str, Any]:
    """The summary of a run; empty where there is none that can be read."""
    try:
        return read_summary(path)
    except DataError:
        return {}


def has_diverged(summary: Mapping[str, Any]) -> bool:
    """Whether the training ended in numbers that are not finite: an outcome, as an accuracy is one."""
    return summary.get("status") == "failed" and summary.get("exit_code") == DivergedError.exit_code


def is_over(summary: Mapping[str, Any]) -> bool:
    """Whether the run has finished, or diverged, as it would again."""
    return summary.get("status") == "finished" or has_diverged(summary)


def read_summary(path: Path) -> dict[str, Any]:
    """summary.json of a run.

    Raises:
        DataError: there is none, it is not JSON, or a newer cnnbench wrote it.
    """
    try:
        summary = json.loads(read_regular(path / SUMMARY))
    except FileNotFoundError:
        raise DataError(f"{path}: not a run folder (no {SUMMARY}); give the path that `train` printed") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path / SUMMARY}: cannot be read ({error}); the run has to be repeated") from None
    if not isinstance(summary, dict) or not isinstance(summary.get("format"), int):
        raise DataError(f"{path / SUMMARY}: is not a summary of a run; the run has to be repeated")
    if summary["format"] > FORMAT:
        raise DataError(f"{path}: has format {summary['format']}, this cnnbench reads up to {FORMAT}; update cnnbench")
    for key, annotation in ACTED_ON.items():
        if summary.get(key) is not None and not accepts(annotation, summary[key]):
            raise DataError(f"{path / SUMMARY}: {key} is not {in_words(annotation)}; the run has to be repeated")
    for added in summary.get("lengthened") or []:
        if not all(accepts(PositiveInt, added.get(key)) for key in ("epochs", "to")):
            raise DataError(f"{path / SUMMARY}: lengthened lacks numbers of epochs; the run has to be repeated")
    return summary


def with_added_epochs(config: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Any]:
    """The plain config of a run as it was trained in the end: with the epochs added since it began, and
    `lengthened_at`, after how many it had been finished; unchanged where none were."""
    added = summary.get("lengthened")
    if not added:
        return dict(config)
    return dict(config) | {"epochs": added[-1]["to"], "lengthened_at": [part["epochs"] for part in added]}


def read_config(path: Path) -> dict[str, Any]:
    """config.yaml of a run, as plain values; refuses aliases, more than 1 MB and more than 32 levels.

    Raises:
        DataError: there is none, or it is not what cnnbench writes.
    """
    file = path / CONFIG
    try:
        config = read_yaml(file)
    except FileNotFoundError:
        raise DataError(f"{path}: not a run folder (no {CONFIG}); give the path that `train` printed") from None
    except UNREADABLE as error:
        why = str(error).splitlines()[0]
        raise DataError(f"{file}: cannot be read ({why}); this is not a config of cnnbench") from None
    if not isinstance(config, dict):
        raise DataError(f"{file}: is not a mapping; this is not a config of cnnbench")
    return config


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The epochs in metrics.jsonl; a torn last line is left out.

    Raises:
        DataError: a whole line is not JSON.
    """
    file = path / METRICS
    if not file.exists():
        return []
    try:
        whole = read_regular(file).rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: cannot be read ({error}); the run has to be repeated") from None


def metrics_sha256(path: Path, length: int | None = None) -> str | None:
    """SHA-256 of the first `length` bytes of metrics.jsonl, by default of all; None where it has fewer.

    Raises:
        DataError: it cannot be read.
    """
    file = path / METRICS
    try:
        content = read_regular(file) if file.exists() else b""
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    whole = length is None or 0 <= length <= len(content)
    return hashlib.sha256(content[:length]).hexdigest() if whole else None


def with_later_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a run with the settings that there were none of when it was made, as it was made."""
    later = {
        group: LATER[group, node.get("name")] | dict(node)
        for group, node in config.items()
        if isinstance(node, Mapping) and (group, node.get("name")) in LATER
    }
    return dict(config) | later


def load_config(run: Path) -> RunConfig:
    """The checked config of a run folder, as the run was started with; with the epochs that were added since.

    Raises:
        DataError: config.yaml is missing, not readable, or was changed since, or summary.json was.
    """
    summary = read_summary(run)
    files = summary.get("files")
    if isinstance(files, dict) and files.get(SUMMARY) != summary_sha256(summary):
        raise DataError(f"{run / SUMMARY}: was changed after it was written; put it back, or repeat the run")
    written = read_config(run)
    try:
        config = check_config({group: {} for group in LIST_GROUPS} | with_later_settings(written))
    except ConfigError as error:
        raise DataError(*(f"{run / CONFIG}: {finding}" for finding in error.findings)) from None
    if config_hash(written) != summary.get("config_hash"):  # of what stands there: later settings are no part of it
        raise DataError(f"{run / CONFIG}: was changed after the run had started; put it back, or train anew with it")
    return replace(config, epochs=with_added_epochs({"epochs": config.epochs}, summary)["epochs"])

"""A run folder read. It may come from elsewhere: nothing in it is trusted."""

import json
from pathlib import Path
from typing import Any

from cnnbench.config.plain_yaml import UNREADABLE, read_yaml
from cnnbench.config.run_config import RunConfig, check_config
from cnnbench.disk import read_regular
from cnnbench.errors import DataError
from cnnbench.runs.format import CONFIG, FORMAT, METRICS, SUMMARY


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
    return summary


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


def load_config(run: Path) -> RunConfig:
    """The checked config of a run folder.

    Raises:
        DataError: config.yaml is missing or not readable.
        ConfigError: this version of cnnbench does not accept it.
    """
    return check_config(read_config(run))

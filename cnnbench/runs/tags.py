"""Tags of runs: words of the user's, in a file of their own beside those that have hashes."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from cnnbench.disk import disk_errors, read_regular, write_atomically
from cnnbench.errors import ConfigError, DataError

TAGS = "tags.json"
NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")
CURE = "see to it that the run folder can be written"


def check_tag(flag: str, name: str) -> None:
    """Raises: ConfigError, where the name cannot be a tag."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"{flag} {name}: should be letters, digits, - _ . and 40 of them at most, as baseline-2")


def read_tags(run: Path) -> tuple[str, ...]:
    """The tags of a run, sorted.

    Raises:
        DataError: tags.json is not what `write_tags` writes.
    """
    file = f"{run}/{TAGS}"  # of thousands of runs, few of which have one: Path would take as long again
    try:
        document = json.loads(read_regular(file))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{file}: cannot be read ({why}); delete it, and tag the run anew") from None
    names = document.get("tags") if isinstance(document, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) and NAME.fullmatch(name) for name in names):
        raise DataError(f"{file}: is not a list of tags; delete it, and tag the run anew")
    return tuple(sorted(set(names)))


def change_tags(runs: Iterable[Path], *, added: Sequence[str] = (), removed: Sequence[str] = ()) -> None:
    """Adds and removes tags of each run; where the tags of one cannot be read, none is changed.

    Raises:
        DataError: with one line for each run whose tags cannot be read.
        DiskError: one cannot be written.
    """
    known: dict[Path, tuple[str, ...]] = {}
    findings: list[str] = []
    for run in runs:
        try:
            known[run] = read_tags(run)
        except DataError as error:
            findings += error.findings
    if findings:
        raise DataError(*findings)
    for run, before in known.items():
        after = sorted({*before, *added} - set(removed))
        if after != list(before):
            write_tags(run, after)


def write_tags(run: Path, names: Sequence[str]) -> None:
    """Replaces the tags of a run; without any there is no file."""
    if names:
        write_atomically(run / TAGS, (json.dumps({"tags": list(names)}) + "\n").encode())
    else:
        with disk_errors(run / TAGS, CURE):
            (run / TAGS).unlink(missing_ok=True)

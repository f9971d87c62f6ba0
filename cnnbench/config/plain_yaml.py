"""YAML that others wrote: small, shallow and without aliases, or it is not read at all."""

from pathlib import Path
from typing import Any

import yaml

from cnnbench.disk import read_regular
from cnnbench.errors import ConfigError

MAX_BYTES, MAX_DEPTH = 1_000_000, 32
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, ten times as fast, where PyYAML was built with it
UNREADABLE = (OSError, ValueError, yaml.YAMLError, RecursionError)


def read_yaml(file: Path) -> Any:
    """The plain values in a file of YAML.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it is larger than 1 MB, not UTF-8, has aliases or more than 32 levels.
        yaml.YAMLError: it is no YAML.
    """
    content = read_regular(file)
    if len(content) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES:,} bytes")
    text = content.decode()
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels; write it flatter")
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"has an alias, *{event.anchor}; write out what it stands for")
    return LOADER(text).get_single_data()


def refuse_odd_yaml(file: Path) -> None:
    """Looks at a file of the user's before Hydra reads it.

    Raises:
        ConfigError: it cannot be read as plain YAML.
    """
    try:
        read_yaml(file)
    except UNREADABLE as error:
        raise ConfigError(f"{file}: cannot be read as YAML ({' '.join(str(error).split())})") from None

"""YAML files of the user's: what they must not be, looked at before anything is made of them."""

from pathlib import Path

import yaml

from cnnbench.errors import ConfigError

MOST_BYTES = 1_000_000
MOST_LEVELS = 32


def refuse_odd_yaml(file: Path) -> None:
    """Reads the file once, event by event, without making objects of it.

    Raises:
        ConfigError: it is no YAML in UTF-8, longer than a megabyte, nested deeper than 32 levels, or has aliases, by
            which a few lines can stand for billions.
    """
    try:
        if file.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{file}: has more than {MOST_BYTES:,} bytes, too many for a config; use another file")
        level = 0
        for event in yaml.parse(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader):
            level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if level > MOST_LEVELS:
                raise ConfigError(f"{file}: is nested deeper than {MOST_LEVELS} levels; write it flatter")
            if isinstance(event, yaml.AliasEvent):
                raise ConfigError(f"{file}: has an alias (*{event.anchor}); write out what it stands for")
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read as YAML ({' '.join(str(error).split())})") from None

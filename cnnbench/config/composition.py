"""What Hydra makes of overrides, as plain values."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cnnbench.config.plain_yaml import refuse_unreadable
from cnnbench.config.tables import LIST_GROUPS, conf_folder
from cnnbench.errors import ConfigError


def register_resolvers() -> None:
    """Lets the YAML of this process use `${slug:TEXT}` and `${random_hex:}`, in the names of folders."""
    OmegaConf.register_new_resolver("slug", lambda text: slug(str(text)), replace=True)
    OmegaConf.register_new_resolver("random_hex", lambda: secrets.token_hex(2), use_cache=True, replace=True)


def slug(text: str) -> str:
    """`text` as part of a folder name: letters, digits, `-`, `_` and `.` inside, at most 60 characters."""
    kept = "".join(char if char.isascii() and (char.isalnum() or char in "-_.") else "-" for char in text)
    return kept.strip("-.")[:60] or "run"


def compose_overrides(overrides: Sequence[str], config_dir: str | None = None) -> DictConfig:
    """What Hydra makes of the overrides; `config_dir` is a folder with groups of the user's own."""
    register_resolvers()
    if config_dir:
        refuse_unreadable(Path(config_dir))
    with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return hydra.compose("config", [*overrides, *search_path(config_dir)])


def search_path(config_dir: str | None) -> list[str]:
    """The override that lets Hydra find the groups in `config_dir`."""
    return [f"hydra.searchpath=['file://{Path(config_dir).absolute()}']"] if config_dir else []


def to_plain(composed: DictConfig) -> dict[str, Any]:
    """The composed config as resolved plain values, without Hydra's own node.

    Raises:
        ConfigError: a value cannot be resolved.
    """
    ours = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    try:
        values = OmegaConf.to_container(ours, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or 'config'}: {first_line(error)}") from None
    assert isinstance(values, dict)
    return {key: {} for key in LIST_GROUPS} | {str(key): value for key, value in values.items()}


def first_line(error: Exception) -> str:
    """The part of Hydra's message that says what is wrong; its advice is for other programs."""
    return (str(error).splitlines() or [type(error).__name__])[0]

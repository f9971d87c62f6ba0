"""What Hydra makes of overrides, as plain values."""

import functools
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cnnbench.config.plain_yaml import refuse_odd_yaml
from cnnbench.config.refusal import foreign_words, hydra_part, is_hydras, not_installed, raw_tree, refuse_code
from cnnbench.config.tables import LIST_GROUPS, conf_folder
from cnnbench.errors import ConfigError

CONFIG = "config"  # the file in conf/ that all starts from
USERS_OWN = "command-line"  # how Hydra calls where the folder of --config-dir comes from


def register_resolvers() -> None:
    """Lets the YAML of this process use `${slug:TEXT}` and `${random_hex:}`, in the names of folders."""
    OmegaConf.register_new_resolver("slug", lambda text: slug(str(text)), replace=True)
    OmegaConf.register_new_resolver("random_hex", lambda: secrets.token_hex(2), use_cache=True, replace=True)


def slug(text: str) -> str:
    """`text` as part of a folder name: letters, digits, `-`, `_` and `.` inside, at most 60 characters."""
    kept = "".join(char if char.isascii() and (char.isalnum() or char in "-_.") else "-" for char in text)
    return kept.strip("-.")[:60] or "run"


class Files(ConfigRepository):
    """Hydra's finder of files, which says what is wrong with one of the user's own."""

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Raises: ConfigError, naming the file."""
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        if source is None or source.provider != USERS_OWN:
            return super().load_config(config_path)
        file = Path(source.path, f"{config_path.removesuffix('.yaml')}.yaml")
        if config_path.startswith("hydra/"):  # also one of a name that Hydra has, which would come before Hydra's
            raise ConfigError(f"{file}: refused, only the command line can change this; leave the file out")
        refuse_odd_yaml(file)
        try:
            return super().load_config(config_path)
        except Exception as error:  # of any class: Hydra expects nobody to have written `defaults: 5`
            raise ConfigError(f"{file}: cannot be read as a config ({first_line(error)})") from error


class Loader(ConfigLoaderImpl):
    """Hydra's reader of configs, which refuses what must not be in one, for whatever purpose Hydra composes it."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self.repository = Files(config_search_path)

    def _parse_overrides_and_create_caching_repo(self, config_name: str | None, overrides: list[str]) -> Any:
        parsed = OverridesParser.create().parse_overrides(overrides)
        findings = foreign_words(parsed) or not_installed(parsed, self.repository.config_exists)
        if findings:
            raise ConfigError(*findings)
        return super()._parse_overrides_and_create_caching_repo(config_name, overrides)

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Raises: ConfigError, with one line for everything refused."""
        load = super().load_configuration
        try:
            composed = load(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)
        except (HydraException, OmegaConfBaseException, ConfigError):
            raise
        except Exception as error:  # of any class: Hydra stumbles over what nobody should write, such as `model=null`
            raise ConfigCompositionException(f"{first_line(error)} ({type(error).__name__})") from error
        own = [o.input_line for o in OverridesParser.create().parse_overrides(overrides) if is_hydras(o)]
        refuse_code(composed, _hydras_own(config_name, tuple(map(str, own)), run_mode))
        return composed


@functools.cache
def _hydras_own(config_name: str | None, overrides: tuple[str, ...], run_mode: RunMode) -> dict[str, Any]:
    """What these overrides make of Hydra's own node where no file but ours has a say."""
    loader = ConfigLoaderImpl(_search_path(None))
    return hydra_part(raw_tree(loader.load_configuration(config_name, list(overrides), run_mode)))


def _search_path(config_dir: str | None) -> ConfigSearchPath:
    path = create_config_search_path(str(conf_folder()))
    if config_dir:
        folder = f"file://{Path(config_dir).absolute()}"
        path.prepend(USERS_OWN, folder, anchor=SearchPathQuery(provider="schema"))
    return path


def make_hydra(config_dir: str | None = None) -> Hydra:
    """A Hydra that finds our groups, and those in the user's own folder `config_dir`; it refuses what runs code."""
    register_resolvers()
    version.setbase("1.3")
    return Hydra(task_name="cnnbench", config_loader=Loader(_search_path(config_dir)))


def compose_overrides(overrides: Sequence[str], config_dir: str | None = None) -> DictConfig:
    """What Hydra makes of the overrides, without its own node."""
    ours = make_hydra(config_dir)
    composed = ours.compose_config(CONFIG, list(overrides), run_mode=RunMode.RUN, from_shell=False)
    with open_dict(composed):
        del composed["hydra"]
    return composed


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

"""What Hydra makes of overrides, as plain values."""

import copy
import functools
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import ConfigCompositionException, HydraException
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cnnbench.config.plain_yaml import refuse_odd_yaml
from cnnbench.config.refusal import (
    commanded_part,
    foreign_words,
    is_hydras,
    is_of_sweeps,
    not_installed,
    raw_tree,
    refuse_code,
)
from cnnbench.config.tables import LIST_GROUPS, OF_COMPRESSION, OF_SWEEPS, conf_folder
from cnnbench.errors import ConfigError, first_line

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
        with hydras_errors():
            composed = load(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)
        parsed = OverridesParser.create().parse_overrides(overrides)
        own = [o.input_line for o in parsed if is_hydras(o) or is_of_sweeps(o)]
        refuse_code(composed, _commanded(config_name, tuple(map(str, own)), run_mode))
        return composed


@contextmanager
def hydras_errors() -> Iterator[None]:
    """Turns an error of any other class into one of Hydra's, which stumbles over what nobody should write, such as
    `model=null`."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, ConfigError):
        raise
    except Exception as error:
        raise ConfigCompositionException(f"{first_line(error)} ({type(error).__name__})") from error


@functools.cache
def _commanded(config_name: str | None, overrides: tuple[str, ...], run_mode: RunMode) -> dict[str, Any]:
    """What these overrides make of Hydra's own node and of how a sweep is run, where no file but ours has a say."""
    tree = raw_tree(ConfigLoaderImpl(_search_path(None)).load_configuration(config_name, list(overrides), run_mode))
    return {name: commanded_part(tree, name) for name in ("hydra", *OF_SWEEPS)}


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
    return without_hydra(Composer(config_dir).compose(overrides))


def without_hydra(composed: DictConfig) -> DictConfig:
    """The same config, of which Hydra's own node is taken away."""
    with open_dict(composed):
        del composed["hydra"]
    return composed


class Composer:
    """Composes one config after another; those that make the same choices share the reading of the files."""

    def __init__(self, config_dir: str | None = None) -> None:
        self._hydra = make_hydra(config_dir)
        self._groups = Files(_search_path(config_dir))
        self._known: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """What Hydra makes of the overrides, with its own node.

        Raises:
            ConfigError, HydraException, OmegaConfBaseException: it makes nothing of them.
        """
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        values = [override for override in parsed if self._is_value(override)]
        composed = copy.deepcopy(self._chosen(tuple(str(o.input_line) for o in parsed if o not in values)))
        if findings := foreign_words(values):
            raise ConfigError(*findings)
        before = {"hydra": commanded_part(raw_tree(composed), "hydra")}
        with hydras_errors():
            ConfigLoaderImpl._apply_overrides_to_config(values, composed)
        composed.hydra.overrides.task.extend([override.input_line for override in values])
        refuse_code(composed, before)
        return composed

    def keys(self, overrides: Sequence[str]) -> set[str]:
        """All keys there are beside the choices among the overrides."""
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        choices = tuple(str(override.input_line) for override in parsed if not self._is_value(override))
        return set(_paths(raw_tree(self._chosen(choices))))

    def _chosen(self, choices: tuple[str, ...]) -> DictConfig:
        if choices not in self._known:
            compose = self._hydra.compose_config
            self._known[choices] = compose(CONFIG, list(choices), run_mode=RunMode.RUN, from_shell=False)
        return self._known[choices]

    def _is_value(self, override: Override) -> bool:
        """Whether it changes a value that the files have, and nothing about which files are read."""
        is_plain = override.type == OverrideType.CHANGE and override.package is None and not is_hydras(override)
        is_group = self._groups.group_exists(override.key_or_group) and not isinstance(override.value(), dict)
        return is_plain and not is_group and not override.is_sweep_override()


def _paths(node: Any, prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{key}.")


def to_plain(composed: DictConfig) -> dict[str, Any]:
    """The composed config of a run as resolved plain values, without what is Hydra's or the sweep's.

    Raises:
        ConfigError: a value cannot be resolved.
    """
    ours = OmegaConf.masked_copy(
        composed, [str(key) for key in composed if key not in ("hydra", *OF_SWEEPS, *OF_COMPRESSION)]
    )
    try:
        values = OmegaConf.to_container(ours, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or 'config'}: {first_line(error)}") from None
    assert isinstance(values, dict)
    return {key: {} for key in LIST_GROUPS} | {str(key): value for key, value in values.items()}


def plain_part(composed: DictConfig, name: str) -> dict[str, Any]:
    """What the config says under this name of a sweep or a compression, as resolved plain values.

    Raises:
        ConfigError: it is not a mapping, or a value cannot be resolved.
    """
    try:
        part = OmegaConf.to_container(composed[name], resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or name}: {first_line(error)}") from None
    except ValueError:  # of what is no config: a plain value
        part = composed[name]
    if not isinstance(part, dict):
        raise ConfigError(f"{name}={part}: should be one of the choices of {name}")
    return {str(key): value for key, value in part.items()}

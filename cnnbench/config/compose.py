"""Overrides to a checked config; and what of a command line is refused, since a config must not run code."""

from argparse import Namespace
from collections.abc import Sequence
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from cnnbench.config.composition import compose_overrides, first_line, to_plain
from cnnbench.config.overrides import refuse_mistakes
from cnnbench.config.run_config import RunConfig, check_config
from cnnbench.errors import ConfigError


def parse_options(arguments: Sequence[str]) -> Namespace:
    """Hydra's flags and `overrides`.

    Raises:
        ConfigError: a flag that Hydra does not have or not beside another, or that would replace the whole config.
    """
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise ConfigError(f"{message}; see `cnnbench train --help`")

    parser.error = refuse  # type: ignore[method-assign]
    options = parser.parse_args(list(arguments))
    if options.config_path or options.config_name:
        parser.error("--config-path and --config-name are not supported, --config-dir adds a folder of your own")
    if sum(map(bool, (options.run, options.multirun, options.cfg, options.info, options.shell_completion))) > 1:
        parser.error("only one of -m, --cfg, --info and --run can be given")
    return options


def compose(overrides: Sequence[str], config_dir: str | None = None) -> RunConfig:
    """The config that `cnnbench train` would run with these overrides, for use from Python.

    `config_dir` is a folder with groups of your own.

    Raises:
        ConfigError: with one line for every mistake.
    """
    refuse_code(overrides)
    try:
        return check_config(to_plain(compose_overrides(overrides, config_dir)))
    except (HydraException, OmegaConfBaseException, ConfigError) as error:
        refuse_mistakes(overrides, config_dir)
        raise ConfigError(first_line(error)) from None


def refuse_code(arguments: Sequence[str]) -> None:
    """Refuses what would make Hydra import or unpickle something of the caller's choice.

    Raises:
        ConfigError: naming each such argument.
    """
    forbidden = ("_target_", "hydra.callbacks", "hydra/callbacks", "--experimental-rerun")
    found = [argument for argument in arguments if any(word in argument for word in forbidden)]
    if found:
        raise ConfigError(*(f"{argument}: refused, a config must not run code; leave it out" for argument in found))

"""A command line to Hydra's flags, and overrides to a checked config."""

from argparse import Namespace
from collections.abc import Sequence
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from cnnbench.config.composition import Composer
from cnnbench.config.cures import cure_of_flag
from cnnbench.config.overrides import catalogue_beside, refuse_mistakes
from cnnbench.config.run_config import RunConfig
from cnnbench.config.sweep_settings import check_composed
from cnnbench.errors import ConfigError, first_line


def parse_options(arguments: Sequence[str]) -> Namespace:
    """Hydra's flags and `overrides`.

    Raises:
        ConfigError: a flag that Hydra does not have or not beside another, or that would replace the whole config.
    """
    parser = get_args_parser()
    parser.allow_abbrev = False  # `--exp FILE` is not --experimental-rerun

    def refuse(message: str) -> NoReturn:
        raise ConfigError(f"{message}; see `cnnbench train --help`")

    parser.error = refuse  # type: ignore[method-assign]
    options, rest = parser.parse_known_args(list(arguments))
    flags = [text for text in rest if text.startswith("-")]
    if flags:
        raise ConfigError(*unknown_flags(flags, arguments, options.config_dir))
    options.overrides += rest  # those behind a flag
    if options.config_path or options.config_name:
        parser.error("--config-path and --config-name are not supported, --config-dir adds a folder of your own")
    if options.experimental_rerun:
        parser.error("--experimental-rerun: refused, it would run code from a file; use cnnbench resume")
    if options.shell_completion:
        parser.error("--shell-completion is for cnnbench itself: cnnbench -sc install=bash")
    if options.package:
        parser.error("--package is not supported, --cfg shows the whole config")
    if options.resolve and not options.cfg:
        parser.error("--resolve goes with --cfg")
    if sum(map(bool, (options.run, options.multirun, options.cfg, options.info))) > 1:
        parser.error("only one of -m, --cfg, --info and --run can be given")
    return options


def unknown_flags(flags: Sequence[str], arguments: Sequence[str], config_dir: str | None) -> list[str]:
    """A line for each flag, of which there is none, with the setting it stands for."""
    catalogue = catalogue_beside(arguments, config_dir)
    findings = []
    for text in flags:
        flag, given, value = text.partition("=")
        following = "".join(arguments[list(arguments).index(text) + 1 :][:1])
        value = value if given or following.startswith("-") or "=" in following else following
        cure = cure_of_flag(flag.lstrip("-"), value, catalogue)
        findings.append(f"{' '.join(filter(None, (flag, value)))}: no such flag{cure}")
    return findings


def compose(overrides: Sequence[str], config_dir: str | None = None) -> RunConfig:
    """The config that `cnnbench train` would run with these overrides, for use from Python.

    `config_dir` is a folder with groups of your own.

    Raises:
        ConfigError: with one line for every mistake.
    """
    try:
        return check_composed(Composer(config_dir).compose(overrides))
    except (HydraException, OmegaConfBaseException, ConfigError) as error:
        refuse_mistakes(overrides, config_dir)
        raise error if isinstance(error, ConfigError) else ConfigError(first_line(error)) from None

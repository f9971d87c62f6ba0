"""An argparse parser whose mistakes are ConfigErrors: one line, exit code 2."""

import argparse
from typing import NoReturn

from cnnbench.errors import ConfigError


class Parser(argparse.ArgumentParser):
    """For `cnnbench VERB`; raises ConfigError where argparse would print its usage and leave."""

    def __init__(self, verb: str, description: str) -> None:
        super().__init__(prog=f"cnnbench {verb}", description=description, allow_abbrev=False)
        self._verb = verb

    def error(self, message: str) -> NoReturn:
        """Raises: ConfigError."""
        raise ConfigError(f"{message}; see `cnnbench {self._verb} --help`")

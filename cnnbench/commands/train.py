"""`cnnbench train`: one run, a sweep of them (`-m`), or a look at the config (`--cfg job`)."""

from collections.abc import Sequence

from cnnbench.sweeps.launch import launch


def main(arguments: Sequence[str]) -> None:
    """Hydra knows its own arguments."""
    launch(arguments)

"""The way in from Python: train, resume, and what comes back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from cnnbench.compression.run import compress_run, resume_compression
from cnnbench.config.compose import compose
from cnnbench.config.compressing import compressions
from cnnbench.config.run_config import RunConfig
from cnnbench.data.from_python import GivenData
from cnnbench.errors import ConfigError
from cnnbench.experiment import run_experiment
from cnnbench.lengthen import lengthened
from cnnbench.runs.read import load_config, read_metrics, read_summary
from cnnbench.techniques.callback import Callback


class Summary(dict[str, Any]):
    """The keys of a run's summary.json; `folder` is the run's, as given."""

    def __init__(self, folder: Path, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.folder = folder

    @property
    def history(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, one for each epoch."""
        return read_metrics(self.folder)


def train(
    config: RunConfig | Sequence[str],
    folder: str | Path,
    *,
    model: nn.Module | None = None,
    dataset: GivenData | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
) -> Summary:
    """Trains and tests into the run folder `folder`, as `cnnbench train` does.

    `config` is what `compose` gives, or overrides as on the command line: `["model=deep", "epochs=5"]`. `model`, from
    normalised images (N, C, H, W) to logits (N, K), takes the place of the config's. `dataset`, training images or
    `{"train": ..., "val": ..., "test": ...}`, takes that of its images: `cnnbench.data.from_python` says what they may
    be. `callbacks` act beside the config's own, before them. With `quiet`, nothing is printed.

    Raises:
        CnnbenchError: what the caller can mend, with one line for each finding.
    """
    folder = Path(folder)
    checked = config if isinstance(config, RunConfig) else compose(_overrides(config))
    return Summary(
        folder, run_experiment(checked, folder, model=model, dataset=dataset, callbacks=callbacks, quiet=quiet)
    )


def resume(
    folder: str | Path,
    *,
    epochs: int | None = None,
    model: nn.Module | None = None,
    dataset: GivenData | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
) -> Summary:
    """Continues the run in `folder` from its last checkpoint; with `epochs`, a finished one up to so many.

    What was given to `train` as an object is given again. A finished run is left as it is where no `epochs` are given.

    Raises:
        CnnbenchError: what the caller can mend.
    """
    folder = Path(folder)
    summary = read_summary(folder)
    if epochs is None and summary.get("status") == "finished":
        return Summary(folder, summary)
    is_student = epochs is None and summary.get("parent") is not None  # which is timed when it is trained
    if load_config(folder).compression or is_student:
        if epochs is not None:
            raise ConfigError(f"epochs={epochs}: {folder} was compressed; compress its parent with compression.epochs")
        return Summary(folder, resume_compression(folder, model=model, dataset=dataset, quiet=quiet))
    config = load_config(folder) if epochs is None else lengthened(folder, epochs)
    parts: dict[str, Any] = {"model": model, "dataset": dataset, "callbacks": callbacks}
    return Summary(folder, run_experiment(config, folder, **parts, resume=True, quiet=quiet))


def compress(
    run: str | Path,
    overrides: Sequence[str],
    folder: str | Path,
    *,
    model: nn.Module | None = None,
    dataset: GivenData | None = None,
    quiet: bool = False,
) -> Summary:
    """Compresses the finished run in `run` into the run folder `folder`, as `cnnbench compress` does.

    `overrides` are as on the command line: `["compression=filters", "compression.amount=0.3"]`. `model`, which takes
    the run's weights, and `dataset` are those of a run to which they were given from Python. With `quiet`, nothing is
    printed.

    Raises:
        CnnbenchError: what the caller can mend, with one line for each finding.
    """
    (node,) = compressions(_overrides(overrides), None, sweep=False)
    folder = Path(folder)
    return Summary(folder, compress_run(Path(run), node, folder, model=model, dataset=dataset, quiet=quiet))


def _overrides(config: Any) -> Sequence[str]:
    if isinstance(config, str) or not isinstance(config, Sequence):
        raise ConfigError(f"config: is {config!r}; give a list of overrides, as ['model=deep'], or compose([...])")
    return config

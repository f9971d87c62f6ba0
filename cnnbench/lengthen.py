"""A finished run is given more epochs.

Its config.yaml stays as it began; summary.json says what was added, and what the run had come to before.
"""

from dataclasses import replace
from pathlib import Path
from shlex import quote

from cnnbench.config.run_config import RunConfig
from cnnbench.config.settings import PositiveInt, accepts, in_words
from cnnbench.errors import ConfigError
from cnnbench.loop import Training
from cnnbench.runs.folder import RunFolder
from cnnbench.runs.identity import group_hash
from cnnbench.runs.read import load_config, read_config, read_summary, with_added_epochs
from cnnbench.runs.teacher import with_teacher

KEPT = ("epochs", "selected_epoch", "best_val_accuracy", "test_accuracy", "test_top5_accuracy", "test_loss")


def lengthened(path: Path, epochs: int) -> RunConfig:
    """The config with which the finished run in `path` can be resumed, to go on up to `epochs` in all.

    From there on it follows the schedule of a training of so many epochs. It is then no repetition of runs that had
    them from the beginning, and no group pools them.

    Raises:
        ConfigError: it has as many already, or has ended otherwise than by its last epoch.
    """
    if not accepts(PositiveInt, epochs):
        raise ConfigError(f"epochs={epochs}: should be {in_words(PositiveInt)}")
    config, summary = load_config(path), read_summary(path)
    if summary.get("status") != "finished":
        raise ConfigError(f"epochs={epochs}: the run is not finished; first `cnnbench resume {quote(str(path))}`")
    done = summary.get("epochs")
    if done != config.epochs:
        raise ConfigError(f"epochs={epochs}: the run ended by itself after {done} of {config.epochs}; train anew")
    if epochs <= done:
        raise ConfigError(f"epochs={epochs}: the run has {done}; give more")
    return replace(config, epochs=epochs)


def note_added_epochs(run: RunFolder, epochs: int) -> None:
    """Opens a finished run again, once nothing stands in the way of going on."""
    past = {key: run.summary[key] for key in KEPT}
    added = [*(run.summary["lengthened"] or []), past | {"to": epochs}]
    group = group_hash(with_teacher(with_added_epochs(read_config(run.path), {"lengthened": added}), run.summary))
    run.update_summary(lengthened=added, group_hash=group, status="running", files={})
    run.log(f"lengthened from {past['epochs']} to {epochs} epochs")


def schedule_line(config: RunConfig, training: Training, last_lr: float) -> str:
    """How the learning rate of a lengthened run goes on from where it had ended, `last_lr`."""
    name, lr = config.schedule["name"], training.lr_at(training.step)
    return (
        f"from {training.epoch} to {config.epochs} epochs: the learning rate goes on at {lr:.3g}, where "
        f"schedule={name} over {config.epochs} epochs is by then; it had ended at {last_lr:.3g}"
    )

"""What `train` shows before and after: the config it resolved, the model's size, the results."""

from collections.abc import Mapping
from typing import Any

from cnnbench.config.run_config import RunConfig
from cnnbench.config.settings import spell
from cnnbench.config.tables import GROUPS, LIST_GROUPS
from cnnbench.console import say, show_table
from cnnbench.data import Source, Splits
from cnnbench.data.images import spell_shape
from cnnbench.data.inspect import describe_folders
from cnnbench.device import Device
from cnnbench.models.describe import Description


def introduce(config: RunConfig, source: Source, description: Description) -> None:
    """Shows every choice with its settings, then the model's size."""
    rows = [(group, choice_line(group, getattr(config, group))) for group in GROUPS]
    rows.append(("run", f"seed={config.seed} epochs={config.epochs} batch_size={config.batch_size}"))
    rows.append(("images", f"{spell_shape(source.image_shape)}, {source.num_classes} classes"))
    rows += describe_folders(source)
    rows.append(("size", size_line(description)))
    show_table(("part", "choice"), rows)


def choice_line(group: str, node: Mapping[str, Any]) -> str:
    """`adam lr=0.001 betas=[0.9, 0.999]`; for the groups that compose, one after the other."""
    if group in LIST_GROUPS:
        return " + ".join(choice_line("", {"name": name, **(values or {})}) for name, values in node.items()) or "none"
    return " ".join([str(node["name"]), *(f"{key}={spell(value)}" for key, value in node.items() if key != "name")])


def size_line(description: Description) -> str:
    """Parameters, multiply-accumulates and receptive field in words."""
    return (
        f"{description.parameters:,} parameters, {description.macs / 1e6:,.2f} M multiply-adds an image, "
        f"receptive field {'x'.join(map(str, description.receptive_field))} px"
    )


def policy_line(device: Device) -> str:
    """Where and in which numbers the model is trained."""
    threads = f"{device.threads} thread{'s' if device.threads > 1 else ''}"
    compiled = ", compiled" if device.compile else ""
    return f"{device.torch_device.type}, {device.precision}, {device.memory_format}, {threads}{compiled}"


def split_sizes(splits: Splits) -> str:
    """How many images the run trains on, validates with and will be tested on."""
    test = splits.read_test()
    counts = {"train": len(splits.train), "validate": len(splits.val), "test": 0 if test is None else len(test)}
    return ", ".join(f"{count:,} to {what}" if count else f"none to {what}" for what, count in counts.items())


def star_line(select: str, *, validates: bool) -> str:
    """What the star before an epoch means."""
    if not validates:
        return "* marks the latest epoch: without validation images there is no best one"
    tested = "its weights" if select == "best" else "not its weights but the last"
    return f"* marks the best epoch so far (validation accuracy, then loss): {tested} are tested"


def percent(value: float | None) -> str:
    """A fraction as a percentage; a dash where there is none."""
    return "-" if value is None else f"{100 * value:.2f} %"


def spell_reads(reads: int) -> str:
    """How often the test images were read."""
    return "read once" if reads == 1 else f"read {reads} times"


def show_results(summary: Mapping[str, Any]) -> None:
    """Shows what the run came to."""
    rows = [
        ("training time", f"{summary['train_seconds']:.1f} s", f"{summary['images_per_second']:,.0f} images/s"),
        ("total time", f"{summary['total_seconds']:.1f} s", ""),
    ]
    if summary["best_val_accuracy"] is not None:
        rows = [
            ("validation accuracy", percent(summary["best_val_accuracy"]), f"best, of epoch {summary['best_epoch']}"),
            ("training accuracy", percent(summary["train_accuracy"]), f"gap {percent(summary['train_val_gap'])}"),
            *rows,
        ]
    if summary["test_accuracy"] is not None:
        rows.insert(0, ("test accuracy", percent(summary["test_accuracy"]), spell_reads(summary["test_reads"])))
    say()
    show_table(("result", "", ""), rows)

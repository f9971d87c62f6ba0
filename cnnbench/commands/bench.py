"""`cnnbench bench`: how fast configs train and predict on this machine, in every policy it has."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnbench.commands.arguments import Parser
from cnnbench.config.compose import compose
from cnnbench.config.composition import Composer
from cnnbench.config.overrides import groups_of, refuse_mistakes
from cnnbench.config.sweeping import applicable, every_job
from cnnbench.console import say, say_json, show_table
from cnnbench.errors import ConfigError
from cnnbench.progress import loading_torch
from cnnbench.runs.read import is_run, read_summary

DESCRIPTION = """
Training and inference speed, latency, memory and utilisation of a config on this machine, on random images. What the
config leaves to `auto` is measured in every form: with device=auto each precision in each memory format, and with
device.compile=true each also compiled, which takes up to a minute. What it states is measured alone: device=cpu
device.precision=fp32 is one policy.
"""
TRAINING = ("batch", "images/s", "range", "of peak", "memory")
INFERENCE = ("batch", "images/s", "of peak", "ms at 1", "ms at 64")
Row = dict[str, Any]


def main(arguments: Sequence[str]) -> None:
    """Measures each job in its policies; takes about half a minute a job."""
    parser = Parser("bench", DESCRIPTION)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for `cnnbench train`: model=deep ...")
    parser.add_argument(
        "-m", "--multirun", action="store_true", help="sweep: every combination of model=deep,simple ..."
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="how often policies take turns (default: 5)")
    parser.add_argument("--config-dir", metavar="PATH", help="a folder with groups of your own")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_intermixed_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds={options.rounds}: should be a whole number >= 1")
    jobs = expand(options.overrides, options.config_dir, sweep=options.multirun)
    configs = [compose(job, options.config_dir) for job in jobs]
    with loading_torch():
        from cnnbench.speed.bench import measure, prepare

    document = measure(prepare(list(zip(jobs, configs, strict=True))), options.rounds)
    if options.json:
        say_json(document)
    else:
        show(document)


def expand(overrides: Sequence[str], config_dir: str | None, *, sweep: bool) -> list[list[str]]:
    """The overrides of every job.

    Raises:
        ConfigError: with one line for every mistake.
    """
    foreign = [text for text in overrides if text.lstrip("+~").startswith(("hydra.", "hydra/"))]
    if foreign:
        raise ConfigError(*(f"{text}: bench has no run folder and no launcher; leave it out" for text in foreign))
    if runs := [text for text in overrides if is_run(Path(text))]:
        raise ConfigError(*(f"{run}: is a run; bench measures settings: {settings_of(Path(run))}" for run in runs))
    refuse_mistakes(overrides, config_dir, sweep=sweep)
    if not sweep:
        return [list(overrides)]
    composer = Composer(config_dir)
    jobs = [tuple(applicable(job, composer)) for job in every_job(overrides, groups_of(config_dir))]
    return [list(job) for job in dict.fromkeys(jobs)]


def settings_of(run: Path) -> str:
    """The command that measures the network of a run."""
    summary = read_summary(run)
    return f"cnnbench bench model={summary.get('model')} data={summary.get('data')}"


def show(document: dict[str, Any]) -> None:
    """Two tables, training and inference; beneath them what was not measured, and what the figures refer to."""
    rows = document["results"]
    keys = swept_keys(rows)
    if len({tuple(row["overrides"]) for row in rows}) == 1:
        size = f"{rows[0]['parameters']:,} parameters, {rows[0]['macs'] / 1e6:,.2f} M multiply-adds an image"
        say(f"{rows[0]['model']} on {rows[0]['data']} images, random ones: {size}\n")
    labelled = [(label(row, keys), row) for row in rows]
    timed = [(name, row) for name, row in labelled if row["training_images_per_second"]]
    say("Training, median of the rounds:\n")
    show_table((*keys, "policy", *TRAINING), [(*name, *training_cells(row)) for name, row in timed])
    say("\nInference, and its latency with 1 and with 64 images (p50 / p95):\n")
    show_table((*keys, "policy", *INFERENCE), [(*name, *inference_cells(row)) for name, row in timed])
    say()
    for line in dict.fromkeys(f"{', '.join(name)}: {row['problem']}" for name, row in labelled if row["problem"]):
        say(line)
    show_references(document)


def show_references(document: dict[str, Any]) -> None:
    """The peaks that utilisation is a share of, and how busy the machine was."""
    for device, rates in document["peak_gflops"].items():
        peaks = ", ".join(f"{precision} {rate:,.0f}" for precision, rate in rates.items())
        say(f"peak of {device} in matrix products, GFLOP/s: {peaks}")
    before, after = document["load_average"]
    say(f"load of the machine: {before:.2f} before, {after:.2f} after")


def swept_keys(rows: Sequence[Row]) -> list[str]:
    """The keys in which the jobs differ, but for the batch size, which has a column of its own."""
    settings = [dict(_parts(text) for text in row["overrides"]) for row in rows]
    keys = dict.fromkeys(key for chosen in settings for key in chosen)
    return [key for key in keys if key != "batch_size" and len({chosen.get(key) for chosen in settings}) > 1]


def label(row: Row, keys: Sequence[str]) -> tuple[str, ...]:
    """What tells a row from the others: a cell for each of the keys, then one for the policy."""
    chosen = dict(_parts(text) for text in row["overrides"])
    compiled = " compiled" if row["compile"] else ""
    return *(chosen.get(key, "") for key in keys), f"{row['precision']} {row['memory_format']}{compiled}"


def training_cells(row: Row) -> tuple[str, ...]:
    """A row of the table of training, from the batch size on."""
    low, high = row["training_images_per_second_range"]
    return (
        str(row["batch_size"]),
        f"{row['training_images_per_second']:,.0f}",
        f"{low:,.0f} to {high:,.0f}",
        share(row["training_utilisation"]),
        "-" if row["peak_memory_bytes"] is None else f"{row['peak_memory_bytes'] / 2**20:,.0f} MiB",
    )


def inference_cells(row: Row) -> tuple[str, ...]:
    """A row of the table of inference, from the batch size on."""
    latencies = [f"{ms['p50']:.2f} / {ms['p95']:.2f}" for ms in row["latency_ms"].values()]
    speed = f"{row['inference_images_per_second']:,.0f}"
    return str(2 * row["batch_size"]), speed, share(row["inference_utilisation"]), *latencies


def share(value: float | None) -> str:
    """A share of the peak as a percentage."""
    return "-" if value is None else f"{100 * value:.0f} %"


def _parts(override: str) -> tuple[str, str]:
    key, _, value = override.lstrip("+").partition("=")
    return key, value

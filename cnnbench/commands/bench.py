"""`cnnbench bench`: how fast configs train and predict on this machine, and the networks of runs, in every form."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnbench.commands.arguments import Parser
from cnnbench.commands.bench_screen import show_load, show_runs
from cnnbench.config.compose import compose
from cnnbench.config.composition import Composer
from cnnbench.config.overrides import groups_of, refuse_mistakes
from cnnbench.config.sweeping import applicable, every_job
from cnnbench.console import say, say_json, show_table
from cnnbench.errors import ConfigError
from cnnbench.progress import loading_torch
from cnnbench.runs.read import is_run

DESCRIPTION = """
Training and inference speed, latency, memory and utilisation of a config on this machine, on random images. What the
config leaves to `auto` is measured in every form: with device=auto each precision in each memory format, and with
device.compile=true each also compiled, which takes up to a minute. What it states is measured alone: device=cpu
device.precision=fp32 is one policy.

Given runs, their trained networks side by side instead: eager, in the policy of the run, through torch's compiler, and
by onnxruntime in fp32 and int8, each once it has given the run's answers. Takes about a minute a run.
"""
ROUNDS = 5
TRAINING = ("batch", "images/s", "range", "of peak", "memory")
INFERENCE = ("batch", "images/s", "of peak", "ms at 1", "ms at 64")
Row = dict[str, Any]


def main(arguments: Sequence[str]) -> None:
    """Measures each job in its policies, or each run in its ways; takes about half a minute a job, a minute a run."""
    parser = Parser("bench", DESCRIPTION)
    parser.add_argument(
        "words", nargs="*", metavar="RUN|KEY=VALUE", help="runs; or as for `cnnbench train`: model=deep"
    )
    parser.add_argument(
        "-m", "--multirun", action="store_true", help="sweep: every combination of model=deep,simple ..."
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each policy (5), or way of a run (10 to 100)")
    parser.add_argument("--config-dir", metavar="PATH", help="a folder with groups of your own")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_intermixed_args(arguments)
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"--rounds={options.rounds}: should be a whole number >= 1")
    if runs := [Path(word) for word in options.words if is_run(Path(word))]:
        refuse_both(options.words, swept=options.multirun or options.config_dir)
        with loading_torch():
            from cnnbench.speed.bench_runs import measure_runs

        document = measure_runs(runs, options.rounds)
    else:
        jobs = expand(options.words, options.config_dir, sweep=options.multirun)
        configs = [compose(job, options.config_dir) for job in jobs]
        with loading_torch():
            from cnnbench.speed.bench import measure, prepare

        document = measure(prepare(list(zip(jobs, configs, strict=True))), options.rounds or ROUNDS)
    if options.json:
        say_json(document)
    elif runs:
        show_runs(document)
    else:
        show(document)


def refuse_both(words: Sequence[str], *, swept: bool) -> None:
    """Refuses settings beside runs, whose networks are as they were trained.

    Raises:
        ConfigError: with one line for each.
    """
    others = [word for word in words if not is_run(Path(word))]
    findings = [f"{word}: is no run, and bench measures runs or settings; leave it out" for word in others]
    if swept:
        findings.append("-m, --config-dir: are for settings, and bench was given runs; leave them out")
    if findings:
        raise ConfigError(*findings)


def expand(overrides: Sequence[str], config_dir: str | None, *, sweep: bool) -> list[list[str]]:
    """The overrides of every job.

    Raises:
        ConfigError: with one line for every mistake.
    """
    foreign = [text for text in overrides if text.lstrip("+~").startswith(("hydra.", "hydra/"))]
    if foreign:
        raise ConfigError(*(f"{text}: bench has no run folder and no launcher; leave it out" for text in foreign))
    refuse_mistakes(overrides, config_dir, sweep=sweep)
    if not sweep:
        return [list(overrides)]
    composer = Composer(config_dir)
    jobs = [tuple(applicable(job, composer)) for job in every_job(overrides, groups_of(config_dir))]
    return [list(job) for job in dict.fromkeys(jobs)]


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
    show_load(document)


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

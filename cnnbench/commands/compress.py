"""`cnnbench compress`: trained networks made smaller or faster, judged by accuracy and by the clock."""

from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnbench.commands.arguments import Parser, output_file
from cnnbench.config.compressing import compressions, folder_named
from cnnbench.console import say, say_exactly, say_json
from cnnbench.disk import write_atomically
from cnnbench.errors import CnnbenchError, ConfigError, DiskError, SweepError
from cnnbench.progress import loading_torch
from cnnbench.runs.read import is_run

DESCRIPTION = """
Removes filters, masks weights or quantises the network of finished runs, trains it on where that is asked for, tests it
once and times it beside the run it was made of, in turns, in one process. Each result is a run folder that every verb
takes like any other: filters first, then int8. `cnnbench list compression` says what there is.

  compression=filters      what is done; its settings are compression.amount=0.3 ...
  hydra.run.dir=PATH       the folder of the result, hydra.sweep.dir=PATH that of several

With --sensitivity nothing is compressed: it shows what every layer costs in validation accuracy when it alone loses
25, 50 or 75 % of its filters, or is computed in int8; of runs that differ in their seed alone, the mean.
"""


def main(arguments: Sequence[str]) -> None:
    """Compresses one run after the other; what a folder of results has already is left alone."""
    parser = Parser("compress", DESCRIPTION)
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.add_argument("words", nargs="+", metavar="RUN|KEY=VALUE", help="runs, or folders of runs; then overrides")
    parser.add_argument("-m", "--multirun", action="store_true", help="every combination of compression.amount=0.3,0.5")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--clock", action="store_true", help="time compressed runs again: idle, or on another machine")
    instead.add_argument("--sensitivity", action="store_true", help="show what each layer can bear, and draw it")
    parser.add_argument("--config-dir", metavar="PATH", help="a folder with groups of your own")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("-o", "--output", type=Path, help="of --sensitivity (default: <run>-sensitivity.svg)")
    options = parser.parse_intermixed_args(arguments)
    runs = [Path(word) for word in options.words if "=" not in word or Path(word).exists()]
    overrides = [word for word in options.words if Path(word) not in runs]
    if not runs:
        raise ConfigError("compress: which run? Give the path that `train` printed, or a folder of runs")
    if options.output and not options.sensitivity:
        parser.error(f"-o {options.output}: goes with --sensitivity; a result is put into hydra.run.dir=PATH")
    if options.clock:
        if overrides:
            parser.error(f"{overrides[0]}: --clock times what is there; leave it out")
        time_all(runs, as_json=options.json)
        return
    if options.sensitivity:
        if idle := [*overrides, *(["--multirun"] if options.multirun else [])]:
            parser.error(f"{idle[0]}: --sensitivity has ways of its own to change each layer; leave it out")
        show_sensitivity(runs, options.output, as_json=options.json)
        return
    nodes = compressions(overrides, options.config_dir, sweep=options.multirun)
    with loading_torch():
        from cnnbench.compression.jobs import plan, runs_in

    folders = {key: folder_named(overrides, f"hydra.{key}.dir") for key in ("run", "sweep")}
    planned = plan(runs_in(runs), nodes, folders["run"], folders["sweep"])
    if len(planned) > 1 and folders["run"]:
        raise ConfigError(f"hydra.run.dir={folders['run']}: of {len(planned)} results; give hydra.sweep.dir=PATH")
    work_off(planned, as_json=options.json)


def time_all(paths: Sequence[Path], *, as_json: bool) -> None:
    """Times each compressed run beside the run it was made of."""
    with loading_torch():
        from cnnbench.compression.jobs import compressed_in
        from cnnbench.compression.run import time_again

    summaries = []
    for path in compressed_in(paths):
        if not as_json:
            say_exactly(f"run: {path}")
        summaries.append({"folder": str(path), **time_again(path, quiet=as_json)})
    if as_json:
        say_json(summaries)


def work_off(planned: Sequence[Any], *, as_json: bool) -> None:
    """Does one job after the other.

    Raises:
        SweepError: with one line for each of several that failed.
    """
    from cnnbench.compression.run import compress_run, resume_compression
    from cnnbench.runs.read import read_summary

    summaries, failed = [], []
    for number, job in enumerate(planned, start=1):
        if len(planned) > 1 and not as_json:
            say(f"\n{number} of {len(planned)}  {job.title}")
        try:
            if len(planned) > 1 and job.is_done:
                summary = read_summary(job.folder)
            elif len(planned) > 1 and is_run(job.folder):
                summary = resume_compression(job.folder, quiet=as_json)
            else:
                summary = compress_run(job.parent, job.node, job.folder, quiet=as_json)
        except CnnbenchError as error:
            if len(planned) == 1:
                raise
            failed += [f"{job.folder}: {finding}" for finding in error.findings]
            continue
        summaries.append({"folder": str(job.folder), **summary})
    if as_json:
        say_json(summaries[0] if len(planned) == 1 else summaries)
    if failed:
        raise SweepError(*failed)


def show_sensitivity(paths: Sequence[Path], given: Path | None, *, as_json: bool) -> None:
    """Measures what each layer of the runs can bear, draws it, and shows it.

    Raises:
        DiskError: the figure cannot be written.
        ConfigError: the runs cannot be averaged, or not be measured.
    """
    name = paths[0].resolve().name
    figure = given or Path(f"{name}-sensitivity.svg")
    figure_file(figure)
    with loading_torch():
        from cnnbench.compression.jobs import runs_in
        from cnnbench.compression.sensitivity_table import draw, measure, show

    document = measure(runs_in(paths), quiet=as_json)
    write_atomically(figure, draw(document, name).encode())
    document["figure"] = str(figure)
    if as_json:
        say_json(document)
        return
    show(document)
    say(f"\nfigure: {figure}")


def figure_file(figure: Path) -> None:
    """Raises: DiskError, where it cannot be written there, or lies in a run folder, whose files are hashed."""
    output_file("-o", figure)
    if is_run(figure.resolve().parent):
        raise DiskError(f"-o {figure}: lies in a run folder, which holds what the run wrote; name another file")

"""A search from its command line to its summary: what was found, at what cost, and how the best does in the test."""

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbench.analysis.metrics import metric_of
from cnnbench.config.composition import Composer
from cnnbench.config.overrides import groups_of
from cnnbench.config.sweep_settings import SearchSettings, check_composed
from cnnbench.config.sweeping import applicable, each_value_once
from cnnbench.console import note, say, say_exactly, show_table
from cnnbench.disk import make_folder
from cnnbench.runs.read import summary_of
from cnnbench.sweeps.jobs import Job
from cnnbench.sweeps.launchers import Launch
from cnnbench.sweeps.rehearsal import refuse_misfits
from cnnbench.sweeps.running import run_watched
from cnnbench.sweeps.search import DIVERGED, Search
from cnnbench.sweeps.space import as_overrides, search_space
from cnnbench.sweeps.study import JOURNAL, grid_size, open_study
from cnnbench.sweeps.watch import Outlook, spell_seconds

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

MOST_ROWS = 10
ENDINGS = {
    "COMPLETE": "finished",
    "PRUNED": "stopped early",
    DIVERGED: "diverged",
    "FAIL": "failed",
    "RUNNING": "unfinished",
    "WAITING": "unfinished",
}


def search(how: Launch, overrides: Sequence[str], settings: SearchSettings) -> list[str]:
    """Runs the trials that are still to do, tests the best, and shows what was found; gives back a line for each trial
    that failed.

    Raises:
        CnnbenchError: what the user can mend, before the first trial.
        Interrupted: a signal stopped it; it says how to go on.
    """
    composer = Composer(how.config_dir)
    space, fixed = search_space(overrides, groups_of(how.config_dir))
    rehearse_ends(overrides, composer)
    trials = min(settings.trials, grid_size(space)) if settings.sampler == "grid" else settings.trials
    make_folder(how.folder)
    study = open_study(how.folder, settings, space)

    def run(jobs: Sequence[Job], pause_after: int | None) -> None:
        if jobs:
            shown = list({job.folder: job for job in (*searched.jobs(), *jobs)}.values())
            run_watched(shown, jobs, how, outlook=outlook, test=False, pause_after=pause_after)

    at_once = settings.at_once or how.side_by_side(trials)
    searched = Search(study, settings, trials, space, fixed, composer, how.folder, at_once, run)
    outlook = Outlook(trials, searched.drawn, time.monotonic())
    if searched.drawn:
        say(f"{searched.drawn} of {trials} trials were drawn before")
    searched.go()
    show_trials(searched)
    test_best(searched, how)
    say(f"\n`optuna-dashboard {shlex.quote(str(how.folder / JOURNAL))}` shows the search")
    say_exactly(f"sweep: {how.folder}")
    return failures_of(searched)


def rehearse_ends(overrides: Sequence[str], composer: Composer) -> None:
    """Looks at each value, and at the ends of each interval, before the first trial.

    Raises:
        CnnbenchError: with one line for each finding.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(list(overrides))
    lists = [applicable(job, composer) for job in each_value_once(parsed)]
    common = set(lists[0]).intersection(*lists)
    refuse_misfits(
        [
            Job("", tuple(text for text in texts if text not in common), check_composed(composer.compose(texts)))
            for texts in lists
        ],
        {},
    )


def show_trials(searched: Search) -> None:
    """How many trials came to what, what they cost, and a table of the best; of two objectives of the Pareto front."""
    study, names = searched.study, searched.settings.objectives
    endings = [ending_of(trial) for trial in study.trials]
    told = ", ".join(f"{endings.count(word)} {word}" for word in dict.fromkeys(ENDINGS.values()) if word in endings)
    spent = sum(summary_of(searched.folder / job.folder).get("total_seconds") or 0.0 for job in searched.jobs())
    say(f"\n{len(endings)} trials: {told}; {spell_seconds(spent)} of runs\n")
    best = ranked(searched)
    rows = [
        (str(trial.number), *(write(name, value) for name, value in zip(names, trial.values, strict=True)),
         settings_of(trial))
        for trial in best[:MOST_ROWS]
    ]  # fmt: skip
    show_table(("trial", *(metric_of(name).axis for name in names), "values"), rows)
    if len(best) > MOST_ROWS:
        say(f"and {len(best) - MOST_ROWS} more")


def ending_of(trial: "FrozenTrial") -> str:
    """How it ended, in words."""
    return ENDINGS[DIVERGED if trial.user_attrs.get(DIVERGED) else trial.state.name]


def settings_of(trial: "FrozenTrial") -> str:
    """What was drawn, without what the choices of the trial have no use for."""
    return str(trial.user_attrs.get("settings") or " ".join(as_overrides(trial.params)))


def ranked(searched: Search) -> list["FrozenTrial"]:
    """The trials that finished, the best first; of two objectives those of the Pareto front, by the first."""
    from optuna.trial import TrialState

    names, study = searched.settings.objectives, searched.study
    complete = study.get_trials(states=(TrialState.COMPLETE,)) if len(names) == 1 else study.best_trials
    return sorted(complete, key=lambda trial: -metric_of(names[0]).sign * trial.values[0])


def test_best(searched: Search, how: Launch) -> None:
    """Tests the trial that is best by the validation images, and no other; none where there are two objectives."""
    best = ranked(searched)
    if not best:
        note("no trial has finished: there is none to test")
        return
    if len(searched.settings.objectives) == 2:
        say("\nnone was tested: of a front you choose one, and `cnnbench evaluate RUN` tests it")
        return
    job = searched.job_of(best[0].number, best[0].params)
    assert job
    path = searched.folder / (best[0].user_attrs.get("folder") or job.folder)
    if not summary_of(path).get("test_reads"):
        run_watched(searched.jobs(), [Job(path.name, job.settings, job.config)], how, test=True)
    summary = summary_of(path)
    reads = "once" if summary.get("test_reads") == 1 else f"{summary.get('test_reads')} times"
    accuracy = summary.get("test_accuracy")
    shown = (
        f"{100 * accuracy:.2f} % of the test images, which were read {reads}"
        if accuracy is not None
        else "no test images"
    )
    say(f"\nbest: trial {best[0].number}, {path}: {shown}, and by no other trial")


def write(name: str, value: float) -> str:
    """A value of an objective, in the unit of its column."""
    return metric_of(name).write(value)


def failures_of(searched: Search) -> list[str]:
    """One line `<folder>: <cause>` for each trial that failed."""
    lines = []
    for trial in searched.study.trials:
        if ending_of(trial) != ENDINGS["FAIL"]:
            continue
        path = searched.folder / (trial.user_attrs.get("folder") or f"trial {trial.number}")
        error: Any = summary_of(path).get("error") or f"{settings_of(trial)}: make no run"
        lines.append(f"{Path(path)}: {'; '.join(str(error).splitlines())}")
    return lines

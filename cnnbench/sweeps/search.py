"""A search: trials drawn by Optuna, run as jobs of a sweep, and told to the study whatever became of them.

Trials do not see the test images; the best one does, once, at the end. What was drawn is in the study's journal before
a job begins, so that a search that was killed goes on with the trials it had begun.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbench.analysis.metrics import finite_number
from cnnbench.config.composition import Composer
from cnnbench.config.sweep_settings import SearchSettings, check_composed
from cnnbench.config.sweeping import applicable
from cnnbench.errors import ConfigError, DataError
from cnnbench.runs.read import has_diverged, read_metrics, summary_of
from cnnbench.sweeps.jobs import Job
from cnnbench.sweeps.marks import ask_to_stop
from cnnbench.sweeps.planning import folder_name
from cnnbench.sweeps.space import as_overrides

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

    Run = Callable[..., None]

SECONDS_BETWEEN_LOOKS = 0.2
REPORTED = "val_accuracy"  # of each epoch, by which hopeless trials are told
DIVERGED = "diverged"  # a user attribute of trials


@dataclass
class Search:
    """The trials of a study, as jobs.

    `run(jobs, pause_after)` runs jobs to their end or to the end of an epoch. `total` trials are drawn, `at_once`
    before one of them has ended; `fixed` overrides are those of all.
    """

    study: "Study"
    settings: SearchSettings
    total: int
    space: dict[str, "BaseDistribution"]
    fixed: list[str]
    composer: Composer
    folder: Path
    at_once: int
    run: "Run"
    known: dict[int, Job | None] = field(default_factory=dict, init=False)  # by the number of the trial

    def go(self) -> None:
        """Draws and runs trials up to their total number, first those that were begun when the search was left."""
        if self.settings.reduction:
            self._halve(self._begun() + self._draw(self._missing()))
            return
        batch = self._begun()
        while batch or (batch := self._draw(min(self.at_once, self._missing()))):
            self._run_batch(batch)
            batch = []

    def jobs(self) -> list[Job]:
        """The job of each trial so far; one for those that came to the same."""
        drawn = [trial for trial in self.study.trials if trial.params]
        jobs: dict[str, Job] = {}
        for trial in drawn:
            if job := self.job_of(trial.number, trial.params):
                jobs.setdefault(job.config_hash, job)
        return list(jobs.values())

    def job_of(self, number: int, parameters: Mapping[str, Any]) -> Job | None:
        """The job that a trial with these values is; None where they make no config."""
        if number not in self.known:
            self.known[number] = self._make_job(number, parameters)
        return self.known[number]

    def _make_job(self, number: int, parameters: Mapping[str, Any]) -> Job | None:
        own = as_overrides(parameters)
        overrides = applicable([*self.fixed, *own], self.composer)
        composed = self.composer.compose(overrides)
        try:
            config = check_composed(composed)
        except ConfigError:
            return None
        return Job(folder_name(composed, number), tuple(text for text in own if text in overrides), config)

    @property
    def drawn(self) -> int:
        """How many trials have been; of a grid, others wait."""
        from optuna.trial import TrialState

        return sum(trial.state != TrialState.WAITING for trial in self.study.trials)

    def _missing(self) -> int:
        return max(self.total - self.drawn, 0)

    def _draw(self, count: int) -> list["Trial"]:
        trials = [self.study.ask(self.space) for _ in range(count)]
        for trial in trials:
            if job := self.job_of(trial.number, trial.params):  # for who looks at the study
                trial.set_user_attr("folder", job.folder)
                trial.set_user_attr("settings", job.varying)
        return trials

    def _begun(self) -> list["Trial"]:
        from optuna.trial import Trial, TrialState

        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [Trial(self.study, trial._trial_id) for trial in running]

    def _run_batch(self, trials: Sequence["Trial"]) -> None:
        jobs = self._new_jobs(trials)
        with self._stopping_hopeless(trials, jobs):
            new = {job.config_hash: job for job in jobs.values() if job and not self._has_reached(job, None)}
            self.run(list(new.values()), None)
        for trial in trials:
            self._tell(trial, jobs[trial.number])

    def _new_jobs(self, trials: Sequence["Trial"]) -> dict[int, Job | None]:
        """The job of each trial: that of an earlier trial where it comes to the same."""
        known = {job.config_hash: job for job in self.jobs()}
        jobs: dict[int, Job | None] = {}
        for trial in trials:
            job = self.job_of(trial.number, trial.params)
            jobs[trial.number] = job and known.get(job.config_hash, job)
        return jobs

    def _tell(self, trial: "Trial", job: Job | None) -> None:
        """What became of a trial."""
        from optuna.trial import TrialState

        summary = summary_of(self.folder / job.folder) if job else {}
        values = [finite_number(summary.get(name)) for name in self.settings.objectives]
        if summary.get("status") == "finished" and None not in values:
            self.study.tell(trial, [value for value in values if value is not None])
            return
        if has_diverged(summary):
            trial.set_user_attr(DIVERGED, True)
            pruned = len(self.settings.objectives) == 1  # which samplers take for bad, what failed they forget
        else:
            pruned = summary.get("status") == "interrupted"
        self.study.tell(trial, state=TrialState.PRUNED if pruned else TrialState.FAIL)

    @contextmanager
    def _stopping_hopeless(self, trials: Sequence["Trial"], jobs: Mapping[int, Job | None]) -> Iterator[None]:
        """Reports the epochs of trials while they run, and stops those that the study has no hope for."""
        if not self.settings.stop_hopeless:
            yield
            return
        over = threading.Event()

        def watch() -> None:
            while not over.wait(SECONDS_BETWEEN_LOOKS):
                for trial in trials:
                    if job := jobs[trial.number]:
                        self._report(trial, self.folder / job.folder, job.config.epochs)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _report(self, trial: "Trial", path: Path, epochs: int) -> None:
        """Hands on the epochs that the study does not know. A trial may be stopped from a quarter of its training on,
        before that nobody knows; after the last epoch there is nothing left to save."""
        known = self.study._storage.get_trial(trial._trial_id).intermediate_values
        for epoch, value in enumerate(reported(path), start=1):
            if epoch not in known and value is not None:
                trial.report(value, epoch)
                if epochs / 4 <= epoch < epochs and trial.should_prune():
                    ask_to_stop(path)
                    return

    def _halve(self, trials: Sequence["Trial"]) -> None:
        """Runs all trials to the first rung, the best to the next, and so on to the end of their training."""
        jobs = self._new_jobs(trials)
        alive = list(trials)
        epochs = max((job.config.epochs for job in jobs.values() if job), default=1)
        assert self.settings.reduction
        for number, rung in enumerate([*rungs(epochs, self.settings.reduction), None], start=1):
            on_rung = {job.config_hash: job for trial in alive if (job := jobs[trial.number])}
            self.run([job for job in on_rung.values() if not self._has_reached(job, rung)], rung)
            if rung is None:
                for trial in alive:
                    self._tell(trial, jobs[trial.number])
                return
            standing = {trial.number: self._standing(jobs[trial.number], rung) for trial in alive}
            for trial in alive:
                if (value := standing[trial.number]) is not None:
                    trial.report(value, rung)
            ranked = sorted(alive, key=lambda trial: -(standing[trial.number] or -1.0))
            most = max(1, self.total // self.settings.reduction**number)  # of all: a search may have been left here
            kept = ranked[:most]
            for trial in alive:
                if trial not in kept or standing[trial.number] is None:
                    self._tell(trial, jobs[trial.number])
            alive = [trial for trial in kept if standing[trial.number] is not None]

    def _has_reached(self, job: Job, rung: int | None) -> bool:
        path = self.folder / job.folder
        finished = summary_of(path).get("status") == "finished"
        return finished or (rung is not None and len(reported(path)) >= rung)

    def _standing(self, job: Job | None, rung: int) -> float | None:
        """What a trial has reached after so many epochs, or where it ended by itself before; None where it failed."""
        if job is None:
            return None
        epochs = reported(self.folder / job.folder)
        if len(epochs) >= rung:
            return epochs[rung - 1]
        has_ended = summary_of(self.folder / job.folder).get("status") == "finished"
        return epochs[-1] if epochs and has_ended else None


def rungs(epochs: int, reduction: int) -> list[int]:
    """After which epochs trials are sorted out, the earliest first: an N-th of the training, an N-th of that, ..."""
    found: list[int] = []
    while (epochs := epochs // reduction) >= 1:
        found.insert(0, epochs)
    return found


def reported(path: Path) -> list[float | None]:
    """The validation accuracy after each epoch of a run."""
    try:
        return [finite_number(line.get(REPORTED)) for line in read_metrics(path)]
    except DataError:
        return []

"""All jobs of a sweep, looked at before the first starts: what does not fit together is told now, not hours later."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from cnnbench.config.run_config import RunConfig
from cnnbench.errors import CnnbenchError
from cnnbench.progress import loading_torch, waiting
from cnnbench.sweeps.jobs import Job, without_seed

if TYPE_CHECKING:
    from cnnbench.data import Source


def refuse_misfits(jobs: Sequence[Job], wrong: Mapping[tuple[str, ...], CnnbenchError]) -> None:
    """Rehearses the jobs; those that differ in their seed alone are one. `wrong` are the errors of others, by what
    varies in them.

    Raises:
        CnnbenchError: with one line for each finding, saying in which jobs where that is not all of them.
    """
    configs: dict[str, RunConfig] = {}
    names: dict[str, str] = {}
    for job in jobs:
        alike = json.dumps(job.config.as_dict() | {"seed": None}, sort_keys=True)
        if alike not in names:
            names[alike] = job.group
            configs[alike] = job.config
    with waiting("looking whether the parts of all jobs fit together", len(configs)) as wait:
        found = {names[alike]: error for alike, error in rehearsal_errors(configs, wait.advance).items()}
    errors = {without_seed(settings): error for settings, error in wrong.items()}
    refuse(errors | found, len({*names.values(), *errors}))


def rehearsal_errors(
    configs: Mapping[str, RunConfig], after_each: Callable[[], None] = lambda: None
) -> dict[str, CnnbenchError]:
    """What is wrong with each of these configs, by its name: data that are not there, parts that do not fit together.

    Nothing is read, nothing trained, and no device asked: a job may run on another machine.
    """
    with loading_torch():
        from cnnbench.assemble import rehearse
        from cnnbench.data.find import find_data, source_settings

    sources: dict[str, Source] = {}
    errors: dict[str, CnnbenchError] = {}
    for name, config in configs.items():
        place = json.dumps(source_settings(config.data), sort_keys=True)
        try:
            sources[place] = sources.get(place) or find_data(config.data)
            rehearse(config, sources[place], None)
        except CnnbenchError as error:
            errors[name] = error
        after_each()
    return errors


def refuse(errors: Mapping[str, CnnbenchError], jobs: int) -> None:
    """Raises an error of the class of the first, with every finding once, and where it is not of all `jobs` the first
    one that has it."""
    having: dict[str, list[str]] = {}
    for name, error in errors.items():
        for finding in error.findings:
            having.setdefault(finding, []).append(name)
    if having:
        lines = (
            finding if len(names) == jobs else f"{finding} ({len(names)} of {jobs} configs, the first: {names[0]})"
            for finding, names in having.items()
        )
        raise type(next(iter(errors.values())))(*lines)

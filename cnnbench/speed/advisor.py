"""`device=auto`: the fastest policy whose loss agrees, by timing a few real steps; or by rule where there is no time.

The number of threads is timed first, for it is worth most, then precision and memory format, then compilation. The
budget is 5 % of the planned run, at most 10 s. Only `torch.compile` may take longer to try, where what it takes is
still below 5 % of the run; it is chosen where the remaining steps pay for it.

An answer is kept for runs alike under the same load. When it is used again a rival is timed against it first, unless
that was done just before: the jobs of a sweep take one answer, and pay for it once.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cnnbench.arithmetic import computes_in
from cnnbench.config.run_config import RunConfig
from cnnbench.data import Splits
from cnnbench.device import TORCH_THREADS, Device, describe_processor, make_device
from cnnbench.disk import data_root, make_folder, write_atomically
from cnnbench.errors import DiskError
from cnnbench.machine import Load, cpu_name
from cnnbench.runs.identity import COMPUTES_NOTHING
from cnnbench.speed.trials import ROUNDS, Contest, Trial
from cnnbench.teacher import Teacher

MOST_SECONDS, SHARE = 10.0, 0.05
FRESH_SECONDS = 600.0  # for so long nobody looks whether an answer still holds
CHECK_SECONDS, CHECK_SHARE = 1.0, 0.02  # of what a check of a kept answer may take
STEPS_TO_ENTER = 4  # in steps of the first policy: what a further one costs with its slower first step
THREAD_ROUNDS = 2 * ROUNDS  # a neighbour's second of work slows several threads tenfold, and must not decide
TIE = 0.97  # to be preferred to one before it, a policy has to be 3 % faster
AGREEMENT = 0.05  # relative difference of the first loss from that in fp32
COMPILE_SECONDS = 60.0  # a guess before it is measured; 16 to 45 s were seen
IRRELEVANT = ("seed", "epochs", "data", "select", "target", *COMPUTES_NOTHING)  # to the time of a step

Advice = dict[str, Any]


def advise(
    config: RunConfig,
    splits: Splits,
    model: nn.Module,
    device: Device,
    load: Load,
    teacher: Teacher | None = None,
) -> tuple[Device, Advice | None]:
    """The device to train on, and for environment.json how it was chosen.

    `device` is the one the rule gives; it comes back, with None, where the config leaves nothing open. `load` is what
    others do to this machine now: threads that wait for a busy core make all others wait.
    """
    settings = open_settings(config)
    if not settings:
        return device, None
    if "threads" in settings:
        device = with_policy(device, threads=free_threads(load))
    steps = config.epochs * max(len(splits.train) // config.batch_size, 1)
    file = cache_file(config, splits, model, device, load)
    known = read_advice(file, settings, steps)
    with torch.random.fork_rng():
        contest = Contest(config, splits, model, teacher)
        checked = check(contest, device, known, steps) if known and since_it_held(known) > FRESH_SECONDS else None
        if known and (checked is None or checked["holds"]):
            if checked:
                keep(file, known | {"held": now().isoformat()})
            return with_policy(device, **known["chosen"]), known | {"cached": True, "check": checked}
        advice = hold_contest(contest, device, settings, steps)
    advice |= {"busy_cores": round(load.busy_cores, 2), "stolen": round(load.stolen, 2), "measured": now().isoformat()}
    keep(file, advice)
    return with_policy(device, **advice["chosen"]), advice | {"cached": False, "check": checked}


def keep(file: Path, advice: Advice) -> None:
    """Writes it for the next run, which measures again where that is not possible."""
    with suppress(DiskError):
        make_folder(file.parent)
        write_atomically(file, json.dumps(advice, indent=2).encode())


def check(contest: Contest, device: Device, known: Advice, steps: int) -> dict[str, Any] | None:
    """Times a kept answer against its rival, both without compiling; None where the run is too short for that.

    The rival is the fastest of those it was measured against with another number of threads, which is what a changed
    machine makes wrong; else the fastest at all.
    """
    rival = rival_of(known)
    budget = min(CHECK_SECONDS, CHECK_SHARE * known["planned_seconds"] / known["planned_steps"] * steps)
    if rival is None or 2 * STEPS_TO_ENTER * step_seconds_of(known, known["chosen"]) > budget:
        return None
    ours, theirs = (
        contest.enter(with_policy(device, **policy | {"compile": False})) for policy in (known["chosen"], rival)
    )
    contest.race([ours, theirs], budget)
    return {
        "rival": theirs.device.policy(),
        "holds": best([ours, theirs]) is ours,
        "chosen_seconds": ours.report()["step_seconds"],
        "rival_seconds": theirs.report()["step_seconds"],
        "spent_seconds": contest.spent(),
    }


def rival_of(advice: Advice) -> dict[str, Any] | None:
    """The policy that is likeliest to be better than the chosen one by now; None where only one was measured."""
    chosen = advice["chosen"]
    timed = [t for t in advice["trials"] if t["step_seconds"] is not None and not t["compile"]]
    others = [{key: t[key] for key in chosen} for t in sorted(timed, key=lambda t: t["step_seconds"])]
    others = [policy for policy in others if policy | {"compile": chosen["compile"]} != chosen]
    return next((policy for policy in others if policy["threads"] != chosen["threads"]), next(iter(others), None))


def step_seconds_of(advice: Advice, policy: Mapping[str, Any]) -> float:
    """What a step took under a policy that was timed; infinite where it was not."""
    found = (t["step_seconds"] for t in advice["trials"] if all(t[key] == policy[key] for key in policy))
    return next(found, None) or float("inf")


def advice_line(advice: Advice) -> str:
    """In words: what was chosen among how many, how much it gains on fp32, and what finding out took."""
    timed = [trial for trial in advice["trials"] if trial["step_seconds"] is not None]
    checked = advice["check"]
    if advice["cached"]:
        age = f"chosen by a measurement {age_in_words(age_of(advice))} ago"
        return f"{age}, still faster than {difference(checked['rival'], advice['chosen'])}" if checked else age
    if len(timed) < 2:
        return "chosen by rule: the run is too short to measure"
    ours = step_seconds_of(advice, advice["chosen"])
    plain = [t["step_seconds"] for t in timed if t["precision"] == "fp32" and not t["compile"]]
    gain = f", {max(plain) / ours:.1f}x fp32" if plain and advice["chosen"]["precision"] != "fp32" else ""
    mended = "; an earlier answer no longer held" if checked else ""
    return f"fastest of {len(timed)} timed in {advice['spent_seconds']:.1f} s{gain}{mended}"


def difference(policy: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """What tells a policy from another: `fp32, 1 thread`."""
    words = {"threads": f"{policy['threads']} thread{'s' if policy['threads'] > 1 else ''}"}
    return ", ".join(words.get(key, str(policy[key])) for key in policy if policy[key] != other[key])


def now() -> datetime:
    """To the second."""
    return datetime.now(UTC).replace(microsecond=0)


def age_of(advice: Advice) -> float:
    """Seconds since it was measured."""
    return (now() - datetime.fromisoformat(advice["measured"])).total_seconds()


def since_it_held(advice: Advice) -> float:
    """Seconds since it was measured, or found still to hold."""
    return (now() - datetime.fromisoformat(advice.get("held") or advice["measured"])).total_seconds()


def age_in_words(seconds: float) -> str:
    """`5 seconds`, `3 hours`, `12 days`."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{max(int(seconds), 0)} seconds"


def open_settings(config: RunConfig) -> list[str]:
    """What `device=auto` is left to choose."""
    return [key for key, value in config.device.items() if value == "auto" and key != "name"]


def hold_contest(contest: Contest, device: Device, settings: Sequence[str], steps: int) -> Advice:
    """Times `device` and what else the open settings allow; `chosen` is the policy for a run of `steps` steps."""
    first = contest.enter(device)
    if first.problem is not None:  # the training will meet it, and say it better
        nothing = dict.fromkeys(("budget_seconds", "spent_seconds", "planned_seconds"), 0.0)
        return {"chosen": device.policy(), "planned_steps": steps, "trials": [first.report()]} | nothing
    planned = steps * first.quickest_seconds
    budget = min(MOST_SECONDS, SHARE * planned)
    trials = [first]
    for stage, rounds in ((thread_alternatives, THREAD_ROUNDS), (numeric_alternatives, ROUNDS)):
        base = best(trials)
        rivals = [base]
        for other in stage(base.device, settings):
            if contest.spent() + STEPS_TO_ENTER * first.quickest_seconds <= budget:
                rivals.append(contest.enter(other))
        trials += rivals[1:]
        contest.race(rivals, budget, rounds)
    allowed = SHARE * steps * best(trials).quickest_seconds
    for other in compile_alternatives(best(trials).device, settings):
        if contest.spent() + COMPILE_SECONDS <= allowed:
            trials.append(contest.enter(other))
    contest.race(trials, max(budget, contest.spent()))
    return {
        "chosen": best(trials, steps).device.policy(),
        "budget_seconds": budget,
        "spent_seconds": contest.spent(),
        "planned_seconds": planned,
        "planned_steps": steps,
        "trials": [trial.report() for trial in trials],
    }


def best(trials: Sequence[Trial], steps: int | None = None) -> Trial:
    """The fastest trial whose loss agrees with that in fp32; among equals the first.

    With `steps`, the first step, in which a network is compiled, counts too.
    """
    exact = [trial.loss for trial in trials if trial.device.precision == "fp32" and trial.loss is not None]
    good = [trial for trial in trials if agrees(trial, exact)] or list(trials[:1])
    chosen = good[0]
    for trial in good[1:]:
        if cost(trial, steps) < TIE * cost(chosen, steps):
            chosen = trial
    return chosen


def agrees(trial: Trial, exact: Sequence[float]) -> bool:
    """Whether the trial worked, with a first loss near that of fp32 where this was measured."""
    if trial.loss is None or not trial.loss < float("inf"):
        return False
    return not exact or abs(trial.loss - exact[0]) <= AGREEMENT * abs(exact[0])


def cost(trial: Trial, steps: int | None) -> float:
    """Seconds of a run of `steps` steps; without a number those of one step."""
    if steps is None:
        return trial.step_seconds
    compiling = (trial.first_seconds or 0.0) if trial.device.compile else 0.0
    return compiling + steps * trial.step_seconds


def numeric_alternatives(device: Device, settings: Sequence[str]) -> Iterator[Device]:
    """The other precisions and memory formats, the most promising first."""
    kind = device.torch_device.type
    precisions = [p for p in ("bf16", "fp16", "tf32", "fp32") if computes_in(p, kind)]
    precisions = precisions if "precision" in settings else [device.precision]
    formats = ["channels_last", "contiguous"] if "memory_format" in settings else [device.memory_format]
    for memory_format in formats:
        for precision in precisions:
            if (precision, memory_format) != (device.precision, device.memory_format):
                yield with_policy(device, precision=precision, memory_format=memory_format)


def thread_alternatives(device: Device, settings: Sequence[str]) -> Iterator[Device]:
    """Other numbers of threads: one, half of all, all."""
    if "threads" in settings and device.torch_device.type == "cpu":
        for threads in sorted({1, max(TORCH_THREADS // 2, 1), TORCH_THREADS} - {device.threads}):
            yield with_policy(device, threads=threads)


def compile_alternatives(device: Device, settings: Sequence[str]) -> Iterator[Device]:
    """The compiled network; on a GPU also with its kernels launched as one CUDA graph."""
    if "compile" in settings:
        yield with_policy(device, compile=True)
        if device.torch_device.type == "cuda":
            yield with_policy(device, compile="reduce-overhead")


def with_policy(device: Device, **changes: Any) -> Device:
    """The same device under another policy."""
    return make_device(device.torch_device.type, **device.policy() | changes)


def free_threads(load: Load) -> int:
    """One thread for each core that others leave free, at least one. Of stolen time fewer threads get no more."""
    return max(1, TORCH_THREADS - round(load.busy_cores))


def cache_file(config: RunConfig, splits: Splits, model: nn.Module, device: Device, load: Load) -> Path:
    """Where the advice for such runs on this machine under this load is kept: all that decides the time of a step is in
    its name."""
    settings = {key: value for key, value in config.as_dict().items() if key not in IRRELEVANT}
    sizes = [list(parameter.shape) for parameter in model.parameters()]  # a network given from Python has no config
    machine = [describe_processor(device.torch_device), cpu_name(), TORCH_THREADS, torch.__version__]
    others = [round(load.busy_cores), round(4 * load.stolen)]
    key = json.dumps([settings, sizes, list(splits.image_shape), splits.num_classes, machine, others], sort_keys=True)
    return data_root(None) / "advice" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def read_advice(file: Path, settings: Sequence[str], steps: int) -> Advice | None:
    """Advice given before, unless a run this long can afford to look much better."""
    try:
        advice = json.loads(file.read_text(encoding="utf-8"))
        planned = steps * advice["planned_seconds"] / advice["planned_steps"]
        affordable = min(MOST_SECONDS, SHARE * planned) > 2 * advice["budget_seconds"]
        compilable = SHARE * planned > COMPILE_SECONDS > SHARE * advice["planned_seconds"]
        times = min(age_of(advice), since_it_held(advice)) >= 0
        whole = advice["chosen"].keys() >= set(settings) and times and rival_of(advice) is not advice
        return advice if whole and not affordable and not compilable else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError):
        return None

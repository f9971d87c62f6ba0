"""`device=auto`: the fastest policy whose loss agrees, by timing a few real steps; or by rule where there is no time.

The budget is 5 % of the planned run, at most 10 s. Only `torch.compile` may take longer to try, where what it takes
is still below 5 % of the run; it is chosen where the remaining steps pay for it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cnnbench.config.run_config import RunConfig
from cnnbench.data import Splits
from cnnbench.device import TORCH_THREADS, Device, computes_in, make_device
from cnnbench.disk import data_root, make_folder, write_atomically
from cnnbench.errors import DiskError
from cnnbench.machine import cpu_name
from cnnbench.speed.trials import Contest, Trial

MOST_SECONDS, SHARE = 10.0, 0.05
STEPS_TO_ENTER = 4  # in steps of the first policy: what a further one costs with its slower first step
TIE = 0.97  # to be preferred to one before it, a policy has to be 3 % faster
AGREEMENT = 0.05  # relative difference of the first loss from that in fp32
COMPILE_SECONDS = 60.0  # a guess before it is measured; 16 to 45 s were seen
IRRELEVANT = ("seed", "epochs", "data", "select", "target", "checkpoint")  # to the time of a step


def advise(
    config: RunConfig, splits: Splits, model: nn.Module, device: Device, busy_cores: float
) -> tuple[Device, dict[str, Any] | None]:
    """The device to train on, and for environment.json how it was chosen.

    `device` is the one the rule gives; it comes back, with None, where the config leaves nothing open. `busy_cores` is
    how many cores others keep busy now: threads that wait for a busy core make all others wait.
    """
    settings = open_settings(config)
    if not settings:
        return device, None
    if "threads" in settings:
        device = with_policy(device, threads=free_threads(busy_cores))
    batches = max(len(splits.train) // config.batch_size, 1)
    file = cache_file(config, splits, model, device)
    known = read_advice(file, config.epochs * batches)
    if known is not None:
        return with_policy(device, **{key: known["chosen"][key] for key in settings}), known | {"cached": True}
    with torch.random.fork_rng():
        advice = hold_contest(Contest(config, splits, model), device, settings, config.epochs * batches)
    advice["busy_cores"] = round(busy_cores, 2)
    with suppress(DiskError):  # the next run measures again
        make_folder(file.parent)
        write_atomically(file, json.dumps(advice, indent=2).encode())
    return with_policy(device, **advice["chosen"]), advice | {"cached": False}


def advice_line(advice: Mapping[str, Any]) -> str:
    """In words: what was chosen among how many, how much it gains on fp32, and what finding out took."""
    timed = [trial for trial in advice["trials"] if trial["step_seconds"] is not None]
    if advice["cached"]:
        return "chosen by an earlier measurement"
    if len(timed) < 2:
        return "chosen by rule: the run is too short to measure"
    seconds = {(t["precision"], t["memory_format"], t["compile"], t["threads"]): t["step_seconds"] for t in timed}
    ours = seconds[tuple(advice["chosen"].values())]
    plain = [t["step_seconds"] for t in timed if t["precision"] == "fp32" and not t["compile"]]
    gain = f", {max(plain) / ours:.1f}x fp32" if plain and advice["chosen"]["precision"] != "fp32" else ""
    return f"fastest of {len(timed)} timed in {advice['spent_seconds']:.1f} s{gain}"


def open_settings(config: RunConfig) -> list[str]:
    """What `device=auto` is left to choose."""
    return [key for key, value in config.device.items() if value == "auto" and key != "name"]


def hold_contest(contest: Contest, device: Device, settings: Sequence[str], steps: int) -> dict[str, Any]:
    """Times `device` and what else the open settings allow; `chosen` is the policy for a run of `steps` steps."""
    first = contest.enter(device)
    if first.problem is not None:  # the training will meet it, and say it better
        return {"chosen": device.policy(), "budget_seconds": 0.0, "planned_seconds": 0.0, "trials": [first.report()]}
    planned = steps * first.step_seconds
    budget = min(MOST_SECONDS, SHARE * planned)
    trials = [first]
    for stage in (numeric_alternatives, thread_alternatives):
        base = best(trials)
        rivals = [base]
        for other in stage(base.device, settings):
            if contest.spent() + STEPS_TO_ENTER * first.step_seconds <= budget:
                rivals.append(contest.enter(other))
        trials += rivals[1:]
        contest.race(rivals, budget)
    allowed = SHARE * planned
    for other in compile_alternatives(best(trials).device, settings):
        if contest.spent() + COMPILE_SECONDS <= allowed:
            trials.append(contest.enter(other))
    contest.race(trials, max(budget, contest.spent()))
    return {
        "chosen": best(trials, steps).device.policy(),
        "budget_seconds": budget,
        "spent_seconds": contest.spent(),
        "planned_seconds": planned,
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


def free_threads(busy_cores: float) -> int:
    """One thread for each core that others leave free, at least one."""
    return max(1, TORCH_THREADS - round(busy_cores))


def cache_file(config: RunConfig, splits: Splits, model: nn.Module, device: Device) -> Path:
    """Where the advice for such runs on this machine is kept: all that decides the time of a step is in its name."""
    settings = {key: value for key, value in config.as_dict().items() if key not in IRRELEVANT}
    sizes = [list(parameter.shape) for parameter in model.parameters()]  # a network given from Python has no config
    machine = [cpu_name(), TORCH_THREADS, torch.__version__, device.policy()]
    if device.torch_device.type == "cuda":
        machine.append(torch.cuda.get_device_name(device.torch_device))
    key = json.dumps([settings, sizes, list(splits.image_shape), splits.num_classes, machine], sort_keys=True)
    return data_root(None) / "advice" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def read_advice(file: Path, steps: int) -> dict[str, Any] | None:
    """Advice given before, unless a run this long can afford to look much better."""
    try:
        advice = json.loads(file.read_text(encoding="utf-8"))
        planned = steps * next(t["step_seconds"] for t in advice["trials"] if t["step_seconds"] is not None)
        affordable = min(MOST_SECONDS, SHARE * planned) > 2 * advice["budget_seconds"]
        compilable = SHARE * planned > COMPILE_SECONDS > SHARE * advice["planned_seconds"]
        return None if affordable or compilable else advice
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None

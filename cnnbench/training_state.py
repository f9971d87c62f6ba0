"""What a checkpoint holds of a training, and how a training takes it back once every part has been checked."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnbench.config.settings import Count, Fraction, NonNegative, Positive, PositiveInt, accepts, in_words
from cnnbench.console import note
from cnnbench.data import Splits
from cnnbench.errors import CheckpointError
from cnnbench.loop import Training
from cnnbench.optimizer_state import load_optimizer
from cnnbench.runs.alike import refuse_unlike, unlike
from cnnbench.runs.checkpoint import load_weights

POSITION: dict[str, Any] = {
    "epoch": Count,
    "batch": Count,
    "step": Count,
    "skipped_steps": Count,
    "epoch_seconds": NonNegative,
    "train_seconds": NonNegative,
    "best_epoch": PositiveInt | None,
    "best_val_accuracy": Fraction | None,
    "best_val_loss": float | None,
    "time_to_target": NonNegative | None,
    "stopped": bool,
}
DATA_FACTS: dict[str, Any] = {
    "mean": list[float],
    "std": list[Positive],
    "class_names": list[str],
    "image_shape": list[PositiveInt],
    "fingerprint": str,
}
LARGEST_IMAGE = 2**30  # values; sizes whose product overflows come to no end that can be told
CHECKED_APART = ("format", "position", "averaged", "optimizer", "scaler", "rng")  # not alike from start to end


def training_state(training: Training) -> dict[str, Any]:
    """All that resuming needs of a training; loadable with `weights_only=True`."""
    evaluated = training.evaluation_model()
    return {
        "versions": {"torch": str(torch.__version__)},
        "position": {name: getattr(training, name) for name in POSITION},
        "model": dict(training.model.state_dict()),
        "averaged": None if evaluated is training.model else dict(evaluated.state_dict()),
        "optimizer": {"class": type(training.optimizer).__name__, "state": training.optimizer.state_dict()},
        "callbacks": {name: dict(callback.state_dict()) for name, callback in training.callbacks.items()},
        "scaler": training.device.state_dict(),
        "sums": training.sums.state_dict(),
        "rng": rng_state(),
        "bits": bits_depend_on(training),
    }


def restore_training(
    training: Training, state: dict[str, Any], template: dict[str, Any], path: Path, *, epochs: int, steps: int
) -> None:
    """Puts a fresh `training` where `state` left it, all but the random numbers; `steps` are those of an epoch.

    `template` is what this run would save now: nothing is used before it has been found alike.

    Raises:
        CheckpointError: it belongs to another run, or something in it is not as this run saves it.
    """
    for name in template:
        if name not in state:
            raise unlike(path, name, "is missing")
    refuse_others(state, template, path)
    theirs, ours = ({k: v for k, v in side.items() if k not in CHECKED_APART} for side in (state, template))
    refuse_unlike(theirs, ours, "", path)
    if state["averaged"] is not None:
        refuse_unlike(state["averaged"], template["model"], "averaged", path)
    refuse_position(state["position"], path, epochs=epochs, steps=steps)
    if state["total_seconds"] < 0:
        raise unlike(path, "total_seconds", "is negative")
    refuse_sums(state["sums"], state["position"]["batch"], path)
    refuse_scaler(state["scaler"], template["scaler"], path)
    load_optimizer(training.optimizer, state["optimizer"]["state"], path)
    load_weights(training.model, state["model"], path)
    for name, callback in training.callbacks.items():
        callback.load_state_dict(state["callbacks"][name])
    training.device.load_state_dict(state["scaler"])
    training.sums.load_state_dict(state["sums"])
    for name in POSITION:
        setattr(training, name, state["position"][name])


def refuse_others(state: Any, template: Any, path: Path) -> None:
    """Refuses a checkpoint of another config, optimizer or data; notes where its bits came from another policy.

    Raises:
        CheckpointError: naming both.
    """
    sources = {"config": ("config_hash",), "optimizer": ("optimizer", "class"), "data": ("data", "fingerprint")}
    for what, keys in sources.items():
        ours, theirs = _text_at(template, keys), _text_at(state, keys)
        if theirs != ours:
            raise CheckpointError(f"{path}: was saved with another {what} ({theirs}, now {ours})")
    refuse_unlike(state["bits"], template["bits"], "bits", path)
    was, now = state["bits"], template["bits"]
    changed = [f"{name} {was[name]} -> {now[name]}" for name in now if was[name] != now[name]]
    if changed:
        note(f"{', '.join(changed)}: the run goes on, but not bit for bit as it would have")


def _text_at(state: Any, keys: tuple[str, ...]) -> str:
    for key in keys:
        state = state.get(key) if isinstance(state, dict) else None
    return state[:100] if isinstance(state, str) else "nothing"


def refuse_position(position: Any, path: Path, *, epochs: int, steps: int) -> None:
    """Refuses a place that no run of so many epochs, of so many steps each, passes through."""
    if not isinstance(position, dict) or set(position) != set(POSITION):
        raise unlike(path, "position", f"does not hold {', '.join(POSITION)}")
    for name, annotation in POSITION.items():
        if not accepts(annotation, position[name]):
            raise unlike(path, f"position.{name}", f"is not {in_words(annotation)}")
    epoch, batch = position["epoch"], position["batch"]
    if epoch + (batch > 0) > epochs or batch >= steps:
        raise unlike(path, "position", f"is not within {epochs} epochs of {steps} steps")
    if position["step"] + position["skipped_steps"] != epoch * steps + batch or (position["best_epoch"] or 0) > epoch:
        raise unlike(path, "position", "contradicts itself")


def refuse_sums(sums: Any, batch: int, path: Path) -> None:
    """Refuses sums, alike already, that no `batch` batches add up to."""
    if int(sums["first_bad_step"]) != -1 or not 0 <= int(sums["correct"]) <= sums["images"] or sums["images"] < batch:
        raise unlike(path, "sums", "contradict themselves")


def refuse_scaler(theirs: Any, ours: dict[str, Any], path: Path) -> None:
    """Refuses a loss scale that is none; a run that goes on in another precision has none or needs none."""
    if not isinstance(theirs, dict):
        raise unlike(path, "scaler", "is not a mapping")
    if not ours or not theirs:
        return
    refuse_unlike(theirs, ours, "scaler", path)
    varying = ("scale", "_growth_tracker")
    if not theirs["scale"] > 0 or any(theirs[name] != ours[name] for name in ours if name not in varying):
        raise unlike(path, "scaler", "is not that of a loss scale")


def evaluation_weights(state: Mapping[str, Any], path: Path) -> Any:
    """The weights that were validated, not yet checked: the average where a callback makes one.

    Raises:
        CheckpointError: there are none.
    """
    for name in ("averaged", "model"):
        if name not in state:
            raise unlike(path, name, "is missing")
    return state["model"] if state["averaged"] is None else state["averaged"]


def data_facts(splits: Splits) -> dict[str, Any]:
    """What is kept beside a network of the images it takes; `evaluation_facts` takes it back."""
    return {
        "mean": splits.mean.tolist(),
        "std": splits.std.tolist(),
        "class_names": list(splits.class_names),
        "image_shape": list(splits.image_shape),
        "fingerprint": splits.content["train"].order,
    }


def evaluation_facts(state: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """`mean`, `std`, `class_names` and `image_shape` of the images that the model takes.

    Raises:
        CheckpointError: they are missing, of a wrong type, or do not fit together.
    """
    facts = state.get("data")
    for name, annotation in DATA_FACTS.items():
        if not isinstance(facts, dict) or not accepts(annotation, facts.get(name)):
            raise unlike(path, f"data.{name}", f"is not {in_words(annotation)}")
    assert isinstance(facts, dict)
    channels = facts["image_shape"][0] if len(facts["image_shape"]) == 3 else 0
    if math.prod(facts["image_shape"]) > LARGEST_IMAGE:
        raise unlike(path, "data.image_shape", "is larger than any image")
    fits = len(facts["mean"]) == len(facts["std"]) == channels and set(facts) == set(DATA_FACTS)
    if not fits or not facts["class_names"]:
        raise unlike(path, "data", "does not describe images of classes")
    return {name: facts[name] for name in DATA_FACTS}


def bits_depend_on(training: Training) -> dict[str, str]:
    """What has to be the same for a resumed run to have the same bits."""
    device = training.device
    return {
        "torch": str(torch.__version__),
        "device": device.torch_device.type,
        "precision": device.precision,
        "memory_format": device.memory_format,
        "threads": str(device.threads),
    }


def rng_state() -> dict[str, Tensor]:
    """The state of torch's generators of the CPU and, where there is one, the GPU."""
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def restore_rng(state: Any, path: Path) -> None:
    """Takes back what `rng_state` gave, of the generators that this machine has too.

    Raises:
        CheckpointError: it is not the state of a generator.
    """
    ours = rng_state()
    shared = {name: part for name, part in state.items() if name in ours} if isinstance(state, dict) else {}
    refuse_unlike(shared, ours if "cuda" in shared else {"cpu": ours["cpu"]}, "rng", path)
    try:
        torch.set_rng_state(shared["cpu"])
        if "cuda" in shared:
            torch.cuda.set_rng_state(shared["cuda"])
    except RuntimeError:  # torch looks at what its generator cannot be in
        raise unlike(path, "rng", "is not the state of a generator") from None

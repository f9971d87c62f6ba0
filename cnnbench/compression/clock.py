"""What a compression has gained, by the clock: the run it was made of and the run itself, in turns, in one process."""

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

from cnnbench.analysis.ratios import Ratio
from cnnbench.compression.parents import Parent, load_origin
from cnnbench.console import note
from cnnbench.data.batches import Normalize
from cnnbench.device import Device, make_device
from cnnbench.errors import UnavailableError
from cnnbench.runs.model_files import packed
from cnnbench.speed.clock import THROUGHPUT, as_torch_gives_it, measure, noise, of_network, speedup
from cnnbench.techniques.compression.compression import Compression

ORIGIN, PARENT, RUN = "origin", "parent", "run"


def clocked(
    parent: Parent, model: nn.Module, compression: Compression, normalize: Normalize, device: Device
) -> dict[str, Any]:
    """The part of a summary that the clock fills in.

    `speedup`: the run over its parent, run in the same way, 256 images at a time. `speedup_over_eager`: the run over
    the network it all began with in eager float32; null where that is gone. `clock`: all of it, with intervals.
    `size_ratio`: how many times smaller the weights are on the disk than those of that network, or of the parent.
    """
    way = "compiled" if compression.is_compiled else "policy"
    images = noise(parent.trained.image_shape)
    old = copy.deepcopy(parent.trained.model)
    before = make_device(device.torch_device.type, "fp32", device.memory_format, False, device.threads)
    theirs = before if compression.precision else device  # where the precision is what changes, it is not yet changed
    contenders = [of_network(PARENT, old, way, theirs, normalize, images)]
    origin = load_origin(parent)
    if origin is None:
        note(f"{parent.origin_link.get('path')}: is not there any more; nothing is timed against it")
    else:
        network = copy.deepcopy(origin.model).to(device.torch_device).float()
        contenders.append(as_torch_gives_it(ORIGIN, network, normalize, device, images))
    contenders.append(of_network(RUN, model, way, device, normalize, images))
    found = measure(contenders, None)
    if found.problems:
        raise UnavailableError(*found.problems.values())
    gained = speedup(found.times, PARENT, RUN)
    over_eager = speedup(found.times, ORIGIN, RUN) if origin else None
    sizes = {PARENT: len(packed(old.state_dict()))}
    if origin:
        sizes[ORIGIN] = len(packed(origin.model.state_dict()))
    clock = {
        "threads": device.threads,
        "rounds": {str(size): len(seconds[RUN]) for size, seconds in sorted(found.times.items())},
        "rows": list(found.rows.values()),
        "speedup": _document(gained),
        "speedup_over_eager": _document(over_eager) if over_eager else None,
        "disk_bytes": sizes,
    }
    return {
        "speedup": gained[str(THROUGHPUT)].ratio,
        "speedup_over_eager": over_eager[str(THROUGHPUT)].ratio if over_eager else None,
        "clock": clock,
    }


def _document(ratios: Mapping[str, Ratio]) -> dict[str, list[float | None]]:
    """By size of a batch the ratio and the ends of its 95 % interval."""
    return {size: [ratio.ratio, *(ratio.interval or (None, None))] for size, ratio in ratios.items()}

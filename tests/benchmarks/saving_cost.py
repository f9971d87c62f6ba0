"""The share of a training's time that goes into checkpoints, and the time of one save.

    python tests/benchmarks/saving_cost.py [OVERRIDE ...]

Trains once with the overrides, by default ResNet-18 on images of CIFAR-10's shape, and times every save.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from cnnbench.config.compose import compose
from cnnbench.experiment import run_experiment
from cnnbench.recorder import Recorder
from cnnbench.saving import Saver

RESNET18 = [
    "model=resnet",
    "model.block=basic",
    "data=synthetic",
    "data.image_shape=[3,32,32]",
    "data.train_images=3000",
    "epochs=2",
    "device=cpu",
    "checkpoint.every_seconds=5",
]


def main() -> None:
    seconds: list[float] = []
    save, leave = Saver.save, Recorder.__exit__
    started = [0.0]

    def timed(self: Saver, *arguments: object, **options: object) -> None:
        before = time.perf_counter()
        save(self, *arguments, **options)
        seconds.append(time.perf_counter() - before)

    def enter(self: Recorder) -> Recorder:
        started[0] = time.perf_counter()
        return begin(self)

    def left(self: Recorder, *exception: object) -> None:
        leave(self, *exception)
        started.append(time.perf_counter() - started[0])

    begin = Recorder.__enter__
    Saver.save, Recorder.__enter__, Recorder.__exit__ = timed, enter, left
    with tempfile.TemporaryDirectory() as folder:
        run_experiment(compose(sys.argv[1:] or RESNET18), Path(folder) / "run")
        manifest = json.loads((Path(folder) / "run" / "checkpoints" / "manifest.json").read_text())
    megabytes = manifest["checkpoints"][-1]["bytes"] / 1e6
    print(f"{len(seconds)} saves of {megabytes:.1f} MB, {1000 * max(seconds):.0f} ms the slowest")
    print(f"{100 * sum(seconds) / started[1]:.2f} % of the {started[1]:.1f} s of training and validation")


if __name__ == "__main__":
    main()

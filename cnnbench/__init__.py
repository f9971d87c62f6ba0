"""Train CNN image classifiers from a config, and show by measurement which technique helped.

From Python: `train(compose(["model=deep"]), Path("outputs/mine"))` makes a run, `load(Path("outputs/mine"))` gives back
its model.
Each is imported when it is first used, so that `import cnnbench` does not wait for torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "compose", "load", "train"]

_PUBLIC = {
    "compose": "cnnbench.config.compose:compose",
    "load": "cnnbench.trained.load:load_trained",
    "train": "cnnbench.experiment:run_experiment",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, function = _PUBLIC[name].partition(":")
    return getattr(import_module(module), function)

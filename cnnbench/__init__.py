"""Train CNN image classifiers from a config, and show by measurement which technique helped.

From Python: `train(["model=deep"], "outputs/mine")` makes a run, `load("outputs/mine").predict("photo.jpg")` uses its
model, `resume("outputs/mine")` goes on; docs/python.md has examples.
Each is imported when it is first used, so that `import cnnbench` does not wait for torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["Callback", "CnnbenchError", "__version__", "compose", "compress", "load", "resume", "train"]

_PUBLIC = {
    "Callback": "cnnbench.techniques.callback:Callback",
    "CnnbenchError": "cnnbench.errors:CnnbenchError",
    "compose": "cnnbench.config.compose:compose",
    "compress": "cnnbench.api:compress",
    "load": "cnnbench.trained.load:load_trained",
    "resume": "cnnbench.api:resume",
    "train": "cnnbench.api:train",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, function = _PUBLIC[name].partition(":")
    return getattr(import_module(module), function)

"""On the PYTHONPATH of a sweep, breaks its jobs where FAULTS says so: `{"<seed>": "<fault>"}`, in the second epoch.

With ONCE, a folder, each job is broken once only: what a retry or a resume then meets is whole.
"""

import ctypes
import importlib
import json
import os
import signal
import time
from pathlib import Path

FAULTS = {int(seed): fault for seed, fault in json.loads(os.environ.get("FAULTS", "{}")).items()}
ONCE = os.environ.get("ONCE")
EPOCH = 2


def break_down(fault):
    match fault:
        case "raise":
            raise RuntimeError("a bug in a technique")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            ctypes.string_at(0)
        case "hang":
            time.sleep(3600)
        case "exit":
            raise SystemExit(3)
        case "leave":
            os._exit(3)
        case "memory":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 TB")
        case "disk":
            raise OSError(28, "No space left on device")
        case "kill worker":
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(3600)


def import_broken(name, package=None, original=importlib.import_module):
    module = original(name, package)
    if name == "cnnbench.experiment" and FAULTS:
        recorder = original("cnnbench.recorder").Recorder
        after_batch = recorder.after_batch

        def broken(self, training, images):
            fault = FAULTS.get(self.run.summary["seed"])
            if fault and training.epoch == EPOCH - 1 and not (ONCE and (Path(ONCE) / self.run.path.name).exists()):
                if ONCE:
                    (Path(ONCE) / self.run.path.name).touch()
                break_down(fault)
            after_batch(self, training, images)

        recorder.after_batch = broken
    return module


importlib.import_module = import_broken

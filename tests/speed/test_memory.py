import os
import subprocess
import sys

import pytest
import torch

from cnnbench.device import keep_freed_memory, out_of_memory_named
from cnnbench.errors import OutOfMemoryError
from cnnbench.speed.memory import memory_of

COUNT_FAULTS = """
import resource
import torch
from cnnbench.device import keep_freed_memory
{prepare}
faults = []
for step in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    maps = [torch.ones(2**21) for _ in range(4)]  # 8 MiB each, freed at the next step
    maps = [m + 1 for m in maps]
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sorted(faults[5:])[7])
"""


def page_faults(prepare):
    script = COUNT_FAULTS.format(prepare=prepare)
    # glibc raises the size from which it maps blocks as it sees fit; stated, it maps all of ours
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, env=environment)
    return int(done.stdout)


@pytest.mark.skipif(not keep_freed_memory(), reason="the C library cannot be told")
def test_freed_memory_is_used_again_without_page_faults():
    assert page_faults("torch.set_num_threads(1)") > 100 > page_faults("torch.set_num_threads(1); keep_freed_memory()")


def test_running_out_of_memory_names_a_smaller_batch():
    with pytest.raises(OutOfMemoryError, match="batch_size: out of memory at 64; try 32"), out_of_memory_named(64):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_the_memory_of_an_action_is_what_it_holds_at_its_peak():
    before = torch.ones(1 << 24)  # what is held already does not count
    memory = memory_of(lambda: torch.ones(1 << 24).sum(), torch.device("cpu"))
    assert 0.9 < memory / before.nbytes < 1.5  # the kernel counts in batches of pages


def test_a_system_that_does_not_tell_gives_none(monkeypatch):
    monkeypatch.setattr("pathlib.Path.write_text", lambda path, text: (_ for _ in ()).throw(PermissionError()))
    assert memory_of(list, torch.device("cpu")) is None

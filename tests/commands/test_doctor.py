import json

import pytest

from cnnbench.commands.doctor import recommend
from cnnbench.device import Policy
from cnnbench.machine import Load
from cnnbench.speed import policies

SECONDS = {"fp32": 0.2, "bf16": 0.1}


@pytest.fixture
def quick(monkeypatch):
    """Every step takes no time, fp16 is emulated, and nobody else is here."""
    monkeypatch.setattr(policies, "TORCH_THREADS", 2)
    monkeypatch.setattr(policies, "computes_in", lambda precision, kind: precision != "fp16")
    monkeypatch.setattr(policies, "_network", lambda device: (device, None, None))
    monkeypatch.setattr(policies, "_step", lambda *_: None)
    monkeypatch.setattr(policies, "MOST_ROUNDS", 1)
    monkeypatch.setattr(policies, "seconds_of", lambda step: SECONDS[step.args[0].precision] / step.args[0].threads)
    monkeypatch.setattr("cnnbench.commands.doctor.LoadMeter.load", lambda self: Load(0.0))


def test_json_has_the_machine_its_policies_and_the_data(cnnbench, quick):
    exit_code, out, _ = cnnbench("doctor", "--json")
    document = json.loads(out)
    assert exit_code == 0
    assert document["machine"]["cores"] >= 1
    assert document["machine"]["core_gflops"]["fp32"] > 0
    assert [policy["precision"] for policy in document["policies"][:2]] == ["bf16", "bf16"]
    assert "digits" in {entry["data"] for entry in document["data"]}


def test_speeds_are_relative_to_fp32_on_all_threads_and_emulation_is_named(cnnbench, quick):
    exit_code, out, _ = cnnbench("doctor")
    lines = {tuple(line.split()[:3]): line for line in out.splitlines() if line}
    assert exit_code == 0
    assert lines["bf16", "channels_last", "2"].split()[3:] == ["50.0", "ms", "2.00x"]
    assert lines["bf16", "channels_last", "1"].split()[3:] == ["100.0", "ms", "1.00x"]
    assert "emulated" in lines["fp16", "contiguous", "1"]


def test_it_ends_in_one_recommendation(cnnbench, quick):
    *_, last = cnnbench("doctor")[1].splitlines()
    assert last.startswith("recommendation: ")
    assert "bf16, contiguous, 2 threads on the processor, 2.0x" in last


def document(**machine):
    policy = {"device": "cpu", "precision": "fp32", "memory_format": "contiguous", "threads": 2, "seconds": 0.1}
    return {"machine": {"cores": 2, "busy_cores": 0.0, "stolen": 0.0} | machine, "policies": [policy]}


def test_who_uses_the_cores_comes_first():
    assert recommend(document(busy_cores=1.02)).startswith("other programs use 1.0 of 2 cores")
    assert "other machines" not in recommend(document())
    assert "10% of its time goes to other machines" in recommend(document(stolen=0.1))


def test_a_precision_this_machine_lacks_is_named_and_a_real_step_is_timed(monkeypatch):
    tried = [Policy("fp32", "contiguous"), Policy("tf32", "contiguous")]
    monkeypatch.setattr(policies, "candidate_policies", lambda kind: tried)
    first, *_, last = policies.time_policies(budget=0.0)
    assert first["seconds"] > 0
    assert (last["seconds"] is None) == ("no TF32" in str(last["problem"]))

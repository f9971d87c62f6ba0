import json

import pytest

from cnnbench.device import Policy
from cnnbench.speed import policies as doctor

SECONDS = {"fp32": 0.2, "tf32": 0.2, "bf16": 0.1, "fp16": 9.0}


@pytest.fixture
def quick(monkeypatch):
    """Every step takes no time, but for fp16, which is emulated."""
    monkeypatch.setattr(doctor, "_make_step", lambda kind, precision, memory_format: precision)
    monkeypatch.setattr(doctor, "seconds_of", SECONDS.get)
    monkeypatch.setattr(doctor, "take_turns", lambda steps, rounds: {n: [SECONDS[s]] for n, s in steps.items()})


def test_json_has_the_machine_its_policies_and_the_data(cnnbench, quick):
    exit_code, out, err = cnnbench("doctor", "--json")
    document = json.loads(out)
    assert (exit_code, err) == (0, "")
    assert document["machine"]["cores"] >= 1
    assert [policy["precision"] for policy in document["policies"]] == ["fp32"] * 2 + ["bf16"] * 2 + ["fp16"] * 2
    assert "digits" in {entry["data"] for entry in document["data"]}


def test_speeds_are_relative_to_fp32_and_emulation_is_named(cnnbench, quick):
    exit_code, out, _ = cnnbench("doctor")
    lines = {tuple(line.split()[:2]): line for line in out.splitlines() if line}
    assert exit_code == 0
    assert lines["bf16", "channels_last"].split()[2:] == ["100.0", "ms", "2.00x"]
    assert "emulated: 9.0 s a step" in lines["fp16", "contiguous"]


def test_a_precision_this_machine_lacks_is_named_and_a_real_step_is_timed(monkeypatch):
    policies = [Policy("fp32", "contiguous"), Policy("tf32", "contiguous")]
    monkeypatch.setattr(doctor, "candidate_policies", lambda kind: policies)
    fp32, tf32 = doctor.time_policies()
    assert fp32["seconds"] > 0
    assert (tf32["seconds"] is None) == ("no TF32" in str(tf32["problem"]))

import hashlib
import io
import json
import os
import pickle
import zipfile

import pytest
import torch
from torch import nn

from cnnbench.errors import CheckpointError, DiskError
from cnnbench.runs import checkpoint
from cnnbench.runs.checkpoint import (
    drop_strangers,
    load_checkpoint,
    load_weights,
    read_manifest,
    save_checkpoint,
)
from cnnbench.runs.identity import weights_sha256


def save(folder, step, *, is_best=False):
    save_checkpoint(folder, step, {"step": step, "weights": torch.full((4,), float(step))}, is_best=is_best, keep=2)


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "manifest.json")


def forge(folder, content, *, name="ckpt-00000001.pt", **changes):
    """A manifest whose one checkpoint has these bytes and the hash that belongs to them."""
    entry = {"file": name, "step": 1, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest = {"format": 1, "checkpoints": [entry | {"best": False} | changes]}
    (folder / "ckpt-00000001.pt").write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def forge_state(folder, state):
    torch.save(state, folder / "state")
    forge(folder, (folder / "state").read_bytes())


def tiny():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 3))


def test_a_checkpoint_comes_back_as_it_was_saved(tmp_path):
    state = {"weights": torch.randn(3), "position": {"epoch": 2, "best": None}, "names": ["a", "é"], "lr": 0.1}
    save_checkpoint(tmp_path, 7, state, is_best=False, keep=2)
    loaded = load_checkpoint(tmp_path)
    assert torch.equal(loaded.pop("weights"), state.pop("weights"))
    assert loaded == state | {"format": 1}


def test_the_last_two_and_the_best_are_kept(tmp_path):
    for step in range(1, 7):
        save(tmp_path, step, is_best=step in (1, 2))
    assert files(tmp_path) == ["ckpt-00000002.pt", "ckpt-00000005.pt", "ckpt-00000006.pt"]
    assert [(entry["step"], entry["best"]) for entry in read_manifest(tmp_path)] == [(2, True), (5, False), (6, False)]
    assert load_checkpoint(tmp_path)["step"] == 6
    assert load_checkpoint(tmp_path, best=True)["step"] == 2


def test_without_a_best_one_the_newest_is_loaded_as_the_best(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    assert load_checkpoint(tmp_path, best=True)["step"] == 2


@pytest.mark.parametrize("again", [2, 3])
@pytest.mark.parametrize("operation", ["open", "fsync", "replace"])
@pytest.mark.parametrize("number", range(4))
def test_a_failure_at_any_step_of_saving_leaves_the_last_checkpoint_loadable(
    tmp_path, monkeypatch, operation, number, again
):
    """`number` successful operations, then none; `again` 2 saves the step that is already there once more."""
    save(tmp_path, 1, is_best=True)
    save(tmp_path, 2)
    real, calls = getattr(os, operation), []

    def fails(*arguments, **options):
        calls.append(arguments)
        if len(calls) > number:
            raise OSError(28, "No space left on device")
        return real(*arguments, **options)

    monkeypatch.setattr(os, operation, fails)
    saved = True
    try:
        save_checkpoint(tmp_path, again, {"step": again, "new": True}, is_best=False, keep=2)
    except DiskError:
        saved = False
    monkeypatch.undo()
    monkeypatch.setattr(checkpoint, "note", pytest.fail)  # no fallback: the newest in the manifest is whole
    committed = read_manifest(tmp_path)[-1]
    loaded = load_checkpoint(tmp_path)
    assert loaded["step"] == committed["step"]
    assert not saved or "new" in loaded
    drop_strangers(tmp_path)
    assert files(tmp_path) == sorted(entry["file"] for entry in read_manifest(tmp_path))
    assert load_checkpoint(tmp_path, best=True)["step"] == 1


def test_before_the_manifest_is_replaced_the_old_checkpoint_counts(tmp_path, monkeypatch):
    save(tmp_path, 1)
    real = checkpoint.write_atomically

    def crash_at_the_manifest(path, content):
        if path.name == "manifest.json":
            raise DiskError("crash")
        real(path, content)

    monkeypatch.setattr(checkpoint, "write_atomically", crash_at_the_manifest)
    with pytest.raises(DiskError):
        save(tmp_path, 2)
    assert files(tmp_path) == ["ckpt-00000001.pt", "ckpt-00000002.pt"]
    assert load_checkpoint(tmp_path)["step"] == 1


def test_temporaries_and_unlisted_checkpoints_are_dropped_and_nothing_else(tmp_path):
    save(tmp_path, 1)
    for name in (".tmp-ckpt-00000002.pt-77", "ckpt-00000009.pt", "ckpt-00000009-2.pt", "notes.txt", "ckpt-1.pt"):
        (tmp_path / name).write_text("")
    drop_strangers(tmp_path)
    assert files(tmp_path) == ["ckpt-00000001.pt", "ckpt-1.pt", "notes.txt"]


def damage_one_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


DAMAGES = {
    "bit": (damage_one_bit, "SHA-256"),
    "cut": (lambda path: os.truncate(path, path.stat().st_size - 1), "bytes"),
    "empty": (lambda path: path.write_bytes(b""), "has 0 bytes"),
    "gone": (lambda path: path.unlink(), "No such file"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), ""),
}


@pytest.mark.parametrize(("damage", "said"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before_with_a_note(tmp_path, capsys, damage, said):
    save(tmp_path, 1)
    save(tmp_path, 2)
    damage(tmp_path / "ckpt-00000002.pt")
    assert load_checkpoint(tmp_path)["weights"].tolist() == [1.0] * 4
    noted = capsys.readouterr().err
    assert noted.startswith(f"note: {tmp_path / 'ckpt-00000002.pt'}: ")
    assert said in noted
    assert noted.endswith("using ckpt-00000001.pt (step 1) instead\n")


def test_a_damaged_best_checkpoint_gives_way_to_the_newest(tmp_path):
    for step in (1, 2, 3, 4):
        save(tmp_path, step, is_best=step == 1)
    damage_one_bit(tmp_path / "ckpt-00000001.pt")
    assert load_checkpoint(tmp_path, best=True)["step"] == 4


def test_when_all_are_damaged_every_one_is_named(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    for name in files(tmp_path):
        damage_one_bit(tmp_path / name)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path)
    assert [finding.split(":")[0][-11:] for finding in caught.value.findings] == ["00000002.pt", "00000001.pt"]
    assert caught.value.exit_code == 65


def test_a_folder_without_checkpoints_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        load_checkpoint(tmp_path)


class Evil:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


@pytest.mark.parametrize("write", [lambda state: pickle.dumps(state, protocol=2), None], ids=["pickle", "zip"])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path, write):
    evil = {"format": 1, "model": Evil(tmp_path / "canary")}
    if write:
        forge(tmp_path, write(evil))
    else:
        forge_state(tmp_path, evil)
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "canary").exists()


def archive(pickled, compression=zipfile.ZIP_STORED, **members):
    """A file as torch writes it, of these bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in ({"data.pkl": pickled, "version": b"3\n", "byteorder": b"little"} | members).items():
            file.writestr(f"archive/{name}", content)
    return buffer.getvalue()


BOMBS = {
    "bytearray": archive(b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R."),  # 2 GiB from 20 bytes
    "set": archive(b"\x80\x02cbuiltins\nset\n]\x85R."),
    "packed": archive(pickle.dumps({"format": 1}, protocol=2), zipfile.ZIP_DEFLATED, data=bytes(10**7)),
    "by name on the stack": archive(b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R."),
    "unfinished": archive(b"\x80\x02("),
    "no end": archive(b""),
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_what_would_take_more_memory_than_the_file_is_not_unpacked(tmp_path, content):
    save(tmp_path, 1)
    manifest = read_manifest(tmp_path)
    forge(tmp_path, content)
    forged = json.loads((tmp_path / "manifest.json").read_text())
    forged["checkpoints"] = [*manifest, *forged["checkpoints"]]
    (tmp_path / "manifest.json").write_text(json.dumps(forged))
    with pytest.raises(CheckpointError, match="is not a checkpoint") as caught:  # and the older one is not used instead
        load_checkpoint(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x80", b"garbage" * 99, b"PK\x03\x04" + b"\0" * 60])
def test_bytes_that_are_no_checkpoint_are_refused_in_one_line(tmp_path, content):
    forge(tmp_path, content)
    with pytest.raises(CheckpointError, match="is not a checkpoint") as caught:
        load_checkpoint(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("state", [[1, 2], {"model": {}}, {"format": "1"}, {"format": 2}])
def test_a_state_of_another_format_is_refused(tmp_path, state):
    forge_state(tmp_path, state)
    with pytest.raises(CheckpointError, match="is not a checkpoint of this version"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "ckpt-00000001.pt/../../x", "ckpt-1.pt", ".tmp-a", "a\n"])
def test_a_manifest_that_names_anything_but_a_checkpoint_is_refused(tmp_path, name):
    forge(tmp_path, b"", name=name)
    with pytest.raises(CheckpointError, match="names a file that is no checkpoint"):
        load_checkpoint(tmp_path)


BAD_MANIFESTS = [
    *("", "[]", "{}", '{"format": 1}', '{"format": 1, "checkpoints": [{}]}', '{"format": 1, "checkpoints": 3}'),
    *('{"format": 1e999, "checkpoints": []}', "[" * 100_000, '{"format": 2, "checkpoints": []}'),
]


@pytest.mark.parametrize("text", BAD_MANIFESTS, ids=[text[:40] for text in BAD_MANIFESTS])
def test_a_damaged_or_newer_manifest_is_refused_and_no_checkpoint_deleted(tmp_path, text):
    save(tmp_path, 1)
    (tmp_path / "manifest.json").write_text(text)
    for use in (load_checkpoint, drop_strangers, lambda folder: save(folder, 2)):
        with pytest.raises(CheckpointError, match=r"manifest\.json: (cannot be read|has format 2)"):
            use(tmp_path)
    assert files(tmp_path) == ["ckpt-00000001.pt"]


def test_without_its_manifest_no_checkpoint_is_used_or_deleted(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    (tmp_path / "manifest.json").unlink()
    for use in (load_checkpoint, drop_strangers, lambda folder: save(folder, 3)):
        with pytest.raises(CheckpointError, match=r"manifest\.json: is missing, .* ckpt-0+1\.pt, ckpt-0+2\.pt"):
            use(tmp_path)
    assert files(tmp_path) == ["ckpt-00000001.pt", "ckpt-00000002.pt"]


def test_a_first_checkpoint_that_its_manifest_never_named_is_a_leftover(tmp_path, monkeypatch):
    real, manifests = checkpoint.write_atomically, []

    def killed_at_the_second_manifest(path, content):
        manifests.extend([path] if path.name == "manifest.json" else [])
        if len(manifests) == 2:
            raise DiskError("killed")
        real(path, content)

    monkeypatch.setattr(checkpoint, "write_atomically", killed_at_the_second_manifest)
    with pytest.raises(DiskError):
        save(tmp_path, 1)
    assert files(tmp_path) == ["ckpt-00000001.pt"]
    drop_strangers(tmp_path)
    assert (files(tmp_path), read_manifest(tmp_path)) == ([], [])


WRONG_STATES = {
    "shape": ({"3.bias": torch.zeros(4)}, r"3\.bias is \(4,\) torch.float32 against \(3,\) torch.float32"),
    "dtype": ({"3.bias": torch.zeros(3, dtype=torch.float64)}, "3.bias is .*float64 against .*float32"),
    "unknown": ({"4.bias": torch.zeros(3)}, "4.bias is unknown here"),
    "missing": ({"1.running_var": None}, "1.running_var is missing; this run did not save it"),
    "stride 0": ({"3.weight": torch.zeros(1).expand(3, 4)}, "3.weight is not a dense tensor"),
    "sparse": ({"3.weight": torch.zeros(3, 4).to_sparse()}, "3.weight is not a dense tensor"),
    "nan": ({"3.bias": torch.tensor([0.0, float("nan"), 0.0])}, "3.bias is not finite"),
    "meta": ({"3.bias": torch.zeros(3, device="meta")}, "3.bias is not a dense tensor"),
    "no tensor": ({"3.bias": [0.0, 0.0, 0.0]}, "3.bias is not a dense tensor"),
}


@pytest.mark.parametrize(("wrong", "said"), WRONG_STATES.values(), ids=WRONG_STATES)
def test_weights_that_do_not_fit_are_refused_and_the_model_stays_as_it_was(tmp_path, wrong, said):
    model = tiny()
    before = weights_sha256(model.state_dict())
    state = {name: torch.ones_like(tensor) for name, tensor in model.state_dict().items()} | wrong
    state = {name: value for name, value in state.items() if value is not None}
    with pytest.raises(CheckpointError, match=said):
        load_weights(model, state, tmp_path)
    assert weights_sha256(model.state_dict()) == before


def test_a_giant_of_one_number_in_a_checkpoint_is_refused(tmp_path):
    forge_state(tmp_path, {"format": 1, "model": {"weight": torch.zeros(1).expand(10**12)}})
    state = load_checkpoint(tmp_path)["model"]
    with torch.device("meta"):
        model = nn.Linear(10**12, 1, bias=False)
    with pytest.raises(CheckpointError, match="weight is not a dense tensor"):
        load_weights(model, state, tmp_path)


def test_weights_that_fit_are_loaded_whatever_their_memory_format(tmp_path):
    model, other = tiny(), tiny().to(memory_format=torch.channels_last)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    load_weights(model, other.state_dict(), tmp_path)
    assert weights_sha256(model.state_dict()) == weights_sha256(other.state_dict())


def test_the_hash_of_weights_is_over_name_dtype_shape_and_bytes_in_the_order_of_the_names():
    state = {"b": torch.randn(2, 3, 4, 5), "a": torch.tensor(7), "c": torch.ones(3, dtype=torch.bfloat16)}
    parts = (
        b"a torch.int64 () " + state["a"].numpy().tobytes(),
        b"b torch.float32 (2, 3, 4, 5) " + state["b"].numpy().tobytes(),
        b"c torch.bfloat16 (3,) " + b"\x80\x3f" * 3,
    )
    assert weights_sha256(state) == hashlib.sha256(b"".join(parts)).hexdigest()
    last = state | {"b": state["b"].to(memory_format=torch.channels_last)}
    assert weights_sha256(last) == weights_sha256(state)


def test_the_hash_of_weights_differs_by_one_bit():
    weights = torch.randn(100)
    other = weights.clone()
    other.view(torch.int32)[50] ^= 1
    assert weights_sha256({"w": weights}) != weights_sha256({"w": other})


class Versioned(nn.Linear):
    """Reads its weights by the version of their format, as torchvision's MNASNet does."""

    _version = 2

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
        assert local_metadata["version"] == 2
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


def test_a_network_finds_the_version_of_its_weights(tmp_path):
    saved, fresh = Versioned(2, 3), Versioned(2, 3)
    load_weights(fresh, dict(saved.state_dict()), tmp_path)
    assert torch.equal(fresh.weight, saved.weight)

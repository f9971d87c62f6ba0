"""Checkpoints that survive a crash at any moment and are never loaded when damaged.

A checkpoint counts once manifest.json names it, with its size and SHA-256. `torch.load` notices no flipped
bit, so the hash is compared first; loading is always `weights_only=True`.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from cnnbench.console import note
from cnnbench.disk import disk_errors, read_regular, write_atomically
from cnnbench.errors import CheckpointError
from cnnbench.runs.alike import refuse_unlike
from cnnbench.runs.archive import pack, unpack
from cnnbench.runs.format import MANIFEST

FORMAT = 1
NAME = re.compile(r"ckpt-\d{8,}(-\d+)?\.pt")


def save_checkpoint(folder: Path, step: int, state: Mapping[str, Any], *, is_best: bool, keep: int) -> None:
    """Writes `state` to ckpt-<step>.pt, then manifest.json (the commit point), then deletes what left it.

    The last `keep` checkpoints stay, and the best.

    Raises:
        DiskError: earlier checkpoints are then untouched.
    """
    content = pack({"format": FORMAT, **state})
    previous = read_manifest(folder)
    if not (folder / MANIFEST).exists():  # from now on a checkpoint without a manifest is one whose manifest was lost
        _write_manifest(folder, [])
    name = _new_name(step, {old["file"] for old in previous})
    entry = {"file": name, "step": step, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    entries = [{**old, "best": old["best"] and not is_best} for old in previous]
    entries.append({**entry, "best": is_best})
    kept = [old for old in entries if old["best"] or old in entries[-keep:]]
    write_atomically(folder / name, content)
    _write_manifest(folder, kept)
    drop_strangers(folder)


def _write_manifest(folder: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    write_atomically(folder / MANIFEST, manifest_content(entries))


def manifest_content(entries: Sequence[Mapping[str, Any]]) -> bytes:
    """The bytes of a manifest with these entries."""
    return (json.dumps({"format": FORMAT, "checkpoints": entries}, indent=2) + "\n").encode()


def _new_name(step: int, taken: Collection[str]) -> str:
    """A file name of its own even where a step is saved twice: what the manifest names is never written over."""
    name = f"ckpt-{step:08d}.pt"
    for number in itertools.count(2):
        if name not in taken:
            break
        name = f"ckpt-{step:08d}-{number}.pt"
    return name


def drop_strangers(folder: Path) -> None:
    """Deletes temporaries and checkpoints that manifest.json does not name; call it only under the run's lock.

    Raises:
        CheckpointError: manifest.json is damaged or missing; nothing is then deleted.
    """
    known = {entry["file"] for entry in read_manifest(folder)}
    with disk_errors(folder):
        for path in folder.iterdir():
            if path.name.startswith(".tmp-") or (NAME.fullmatch(path.name) and path.name not in known):
                path.unlink()


def read_manifest(folder: Path) -> list[dict[str, Any]]:
    """The entries of manifest.json, oldest first; none where nothing was ever saved.

    Raises:
        CheckpointError: it is damaged, of a newer format, or missing beside checkpoints.
        DiskError: the disk does not give it.
    """
    path = folder / MANIFEST
    if not path.exists():
        _refuse_orphans(folder)
        return []
    try:
        with disk_errors(path):
            content = read_regular(path)
        manifest = json.loads(content)
        entries: list[dict[str, Any]] = [
            {
                "file": str(e["file"]),
                "step": int(e["step"]),
                "bytes": int(e["bytes"]),
                "sha256": str(e["sha256"]),
                "best": bool(e["best"]),
            }
            for e in manifest["checkpoints"]
        ]
        version = int(manifest["format"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); the run has to be repeated") from None
    if version > FORMAT:
        raise CheckpointError(f"{path}: has format {version}, this cnnbench reads up to {FORMAT}; update cnnbench")
    if not all(NAME.fullmatch(entry["file"]) for entry in entries):
        raise CheckpointError(f"{path}: names a file that is no checkpoint; the run has to be repeated")
    return entries


def _refuse_orphans(folder: Path) -> None:
    with disk_errors(folder):
        orphans = sorted(path.name for path in folder.iterdir() if NAME.fullmatch(path.name)) if folder.exists() else []
    if orphans:
        raise CheckpointError(
            f"{folder / MANIFEST}: is missing, and without its hashes {', '.join(orphans)} cannot be trusted; "
            "put it back, or repeat the run"
        )


def load_checkpoint(folder: Path, *, best: bool = False) -> dict[str, Any]:
    """The newest checkpoint that is whole, or with `best` the one marked as the best; on the CPU.

    A damaged one is passed over with a note; one that is as it was written but no checkpoint is not.

    Raises:
        CheckpointError: none is left.
    """
    entries = read_manifest(folder)
    order = entries[::-1]
    if best:
        order.sort(key=lambda entry: not entry["best"])
    problems: list[str] = []
    for entry in order:
        try:
            content = whole_content(folder, entry)
        except CheckpointError as error:
            problems += error.findings
            continue
        state = unpacked(folder / entry["file"], content)
        for problem in problems:
            note(f"{problem}; using {entry['file']} (step {entry['step']}) instead")
        return state
    raise CheckpointError(*problems or [f"{folder}: holds no checkpoint; the run has to be repeated"])


def whole_content(folder: Path, entry: Mapping[str, Any]) -> bytes:
    """The bytes of a checkpoint, as the manifest's `entry` knows them.

    Raises:
        CheckpointError: they are others, or cannot be read.
    """
    path = folder / entry["file"]
    try:
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise CheckpointError(f"{path}: has {size:,} bytes, {entry['bytes']:,} were written")
        content = read_regular(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise CheckpointError(f"{path}: is damaged (its SHA-256 is not the one written)")
    return content


def unpacked(path: Path, content: bytes) -> dict[str, Any]:
    """What the bytes of a checkpoint hold; nothing is yet known of its parts.

    Raises:
        CheckpointError: they are not those of a checkpoint.
    """
    try:
        state = unpack(content)
    except ValueError as error:
        raise CheckpointError(f"{path}: is not a checkpoint ({error}); the run has to be repeated") from None
    if not isinstance(state, dict) or type(state.get("format")) is not int or state["format"] > FORMAT:
        raise CheckpointError(f"{path}: is not a checkpoint of this version of cnnbench")
    return state


def load_weights(model: nn.Module, state: Any, path: Path) -> None:
    """Loads `state` into `model` after comparing names, shapes and types.

    Raises:
        CheckpointError: naming the first difference; the model is then unchanged.
    """
    own = model.state_dict()
    refuse_unlike(state, dict(own), "", path)
    for name, value in state.items():
        own[name] = value
    model.load_state_dict(own)  # in torch's own mapping: some networks look there for the version of their format

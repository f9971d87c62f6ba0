"""Checkpoints with hostile contents and the right hashes: refused in one line, and nothing runs, hangs or crashes.

python tests/torture/hostile.py [--count 300] [--seed 0]
"""

import functools
import hashlib
import io
import json
import os
import pickle
import random
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from corrupt import train
from torture import HANG_SECONDS, Report, fork, main, tiny

import cnnbench.trained.evaluate  # noqa: F401  (imported once, for all forked runs)
from cnnbench import cli
from cnnbench.config.compose import compose
from cnnbench.runs.archive import pack, unpack
from cnnbench.runs.checkpoint import manifest_content

SETTINGS = [
    *tiny.TINY,
    "model.norm=batch",
    "regularization=[ema,swa,early_stopping]",
    "pruning=magnitude",
    "epochs=4",
    "device.precision=fp16",
    "checkpoint.every_seconds=0.001",
]
EVALUATED = ("averaged", "data")  # the parts that `evaluate` reads; the model only where nothing is averaged
UNREAD = ("versions", "format")
NAN = float("nan")


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.canary),)


def torture(report: Report, count: int, seed: int, folder: Path) -> None:
    numbers = random.Random(seed)
    whole = make_run(folder)
    newest = max(whole.glob("checkpoints/*.pt"))
    for number in range(count):
        verb = numbers.choice(["resume", "resume", "resume", "evaluate"])
        if numbers.random() < 0.2:
            what, content = raw_content(numbers, newest.read_bytes(), folder / "canary")
        else:
            what, content = hostile_state(numbers, newest.read_bytes(), verb)
        path = Path(shutil.copytree(whole, folder / f"run{number}"))
        forge(path / "checkpoints" / newest.name, content)
        command = [verb, str(path), *(["--split", "val"] if verb == "evaluate" else [])]
        ending = fork(functools.partial(cli.run, command), folder)
        failure = None
        if (folder / "canary").exists():
            failure = "ran code"
        elif ending.exit_code is None or ending.seconds > HANG_SECONDS + 10:
            failure = f"hangs ({ending.seconds:.0f} s)"
        elif ending.exit_code != 65 or ending.has_traceback or not ending.is_one_line:
            failure = f"exit code {ending.exit_code}: {ending.err.strip()[-300:]}"
        report.note(
            f"{verb}: {'refused' if failure is None else 'not refused'}", failure and f"{number}: {what}: {failure}"
        )
        shutil.rmtree(path)


def make_run(folder: Path) -> Path:
    """A run killed in its third epoch, with checkpoints."""
    path, config = folder / "whole", compose(SETTINGS)
    ending = fork(lambda: train(config, path, batches=15), folder)
    assert list(path.glob("checkpoints/*.pt")), ending.err
    return path


def forge(file: Path, content: bytes) -> None:
    """Makes these bytes the one checkpoint of a run."""
    for other in file.parent.iterdir():
        other.unlink()
    file.write_bytes(content)
    entry = {"file": file.name, "step": 1, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (file.parent / "manifest.json").write_bytes(manifest_content([entry | {"best": True}]))


def hostile_state(numbers: random.Random, content: bytes, verb: str) -> tuple[str, bytes]:
    """The checkpoint with one part replaced by what no run saves there, or left out, or with one too many."""
    state = unpack(content)
    read = [key for key in state if key not in UNREAD and (verb == "resume" or key in EVALUATED)]
    places = [keys for keys in walk(state) if keys[0] in read]
    keys = numbers.choice([numbers.choice([p for p in places if p[0] == part]) for part in [numbers.choice(read)]])
    node = state
    for key in keys[:-1]:
        node = node[key]
    kind, value = numbers.choice(list(hostile_values(node[keys[-1]], keys)))
    if kind == "missing":
        del node[keys[-1]]
    else:
        node[keys[-1]] = value
    return f"{'.'.join(map(str, keys))} {kind}", pack(state)


def walk(node: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all parts that can be replaced."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*keys, key)
        yield from walk(value, (*keys, key))


def hostile_values(value: Any, keys: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """What cannot stand in the place of `value`."""
    yield "a mapping", {"evil": 1}
    yield "a list of lists", [[[[]] * 9] * 9] * 9
    if not isinstance(value, str):
        yield "a text", "\x1b[31m" + "x" * 5000
    if isinstance(keys[-1], str) and "param_groups" not in keys:
        yield "missing", None
    if isinstance(value, torch.Tensor):
        yield "of another dtype", value.to(torch.complex64)
        yield "larger", torch.zeros(tuple(size + 1 for size in value.shape) or (2,), dtype=value.dtype)
        yield "of stride 0", torch.zeros(1, dtype=value.dtype).expand(2**40)
        yield "empty", torch.zeros(0, dtype=value.dtype)
        yield "sparse", torch.zeros(2, 2).to_sparse()
        yield "a number", 1.5
        yield "on no device", torch.zeros(value.shape, dtype=value.dtype, device="meta")
        if value.is_floating_point() and value.numel():
            yield "not finite", torch.full_like(value, NAN)
    elif isinstance(value, bool) or value is None:
        yield "not a number", NAN
    elif isinstance(value, int | float) and "params" not in keys:
        yield "not finite", float("-inf")
        yield "a tensor", torch.zeros(3, 3)
        if isinstance(value, int):
            yield "far below zero", -(10**6)
            yield "far too large", 10**70
            yield "a fraction", 0.5
    elif isinstance(value, dict) and "param_groups" not in keys and keys[-1] not in ("rng",):
        yield "one too many", {**value, "evil": 1}
    elif isinstance(value, list):
        yield "one more", [*value, *value[:1], 1]


def raw_content(numbers: random.Random, content: bytes, canary: Path) -> tuple[str, bytes]:
    """Bytes that are no archive of plain values."""
    evil = io.BytesIO()
    torch.save({"format": 1, "model": Evil(canary)}, evil)
    kinds = {
        "code in an archive": evil.getvalue(),
        "a pickle with code": pickle.dumps({"format": 1, "model": Evil(canary)}),
        "random bytes": numbers.randbytes(numbers.randrange(1, 9999)),
        "nothing": b"",
        "cut": content[: numbers.randrange(len(content))],
        "a zip bomb": archive(b"\x80\x02}q\x00.", zipfile.ZIP_DEFLATED, data=bytes(10**8)),
        "2 GiB from 20 bytes": archive(b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R."),
        "torch.save of a list": pack([1, 2, 3]),
        "json": json.dumps({"format": 1}).encode(),
        "deep": archive(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."),
    }
    kind = numbers.choice(list(kinds))
    return kind, kinds[kind]


def archive(pickled: bytes, compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    """A file as torch writes it, of these bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, part in {"data.pkl": pickled, "version": b"3\n", "byteorder": b"little", **members}.items():
            file.writestr(f"archive/{name}", part)
    return buffer.getvalue()


if __name__ == "__main__":
    main(torture, count=300, doc=__doc__)

"""Surroundings that are not as usual, and are no bugs: what stands where a file should be, and what is missing."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest
from run_folders import make_run
from tiny import TINY, write_image

from cnnbench.data import decode
from cnnbench.data.class_folders import find_parts
from cnnbench.disk import NoRegularFile, data_root, open_regular, read_regular, take_lock
from cnnbench.errors import ConfigError, DataError
from cnnbench.runs.predictions import load_labels

FILES = ("summary.json", "config.yaml", "metrics.jsonl", "predictions.npz", "environment.json")


def with_a_pipe(path, name):
    path.mkdir(parents=True, exist_ok=True)
    (path / name).unlink(missing_ok=True)
    os.mkfifo(path / name)
    return path


def test_only_regular_files_are_opened(tmp_path):
    with_a_pipe(tmp_path, "pipe")
    (tmp_path / "file").write_bytes(b"content")
    assert read_regular(tmp_path / "file") == b"content"
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path):
        with pytest.raises(NoRegularFile):
            open_regular(path)


@pytest.mark.parametrize("name", FILES)
def test_a_pipe_among_the_files_of_a_run_is_not_waited_for(cnnbench, tmp_path, name):
    make_run(tmp_path / "runs" / "good")
    make_run(tmp_path / "runs" / "other", seed=1)
    with_a_pipe(tmp_path / "runs" / "other", name)
    assert cnnbench("compare", "runs")[0] == 0
    assert cnnbench("report", "runs")[0] in (0, 65)
    assert load_labels(tmp_path / "runs" / "other") is None
    if name in ("summary.json", "config.yaml"):
        verb = {"summary.json": "resume", "config.yaml": "evaluate"}[name]
        assert cnnbench(verb, "runs/other")[0] == 65


def test_a_pipe_among_images_is_named(tmp_path):
    with_a_pipe(tmp_path, "cat.png")
    with pytest.raises(DataError, match=r"cat\.png: cannot be read \(is no regular file\)"):
        decode.decode_image(tmp_path / "cat.png", (3, 4, 4))
    with pytest.raises(DataError, match=r"cat\.png: cannot be read \(is no regular file\)"):
        decode.size_of(tmp_path / "cat.png")


def test_links_to_themselves_among_images_are_no_folders(tmp_path):
    for name in ("cat", "dog"):
        write_image(tmp_path / name / "1.png")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "cat" / "loop").symlink_to("loop")
    found = find_parts(tmp_path, 0.0, {})
    assert (found.class_names, len(found.files["train"].paths)) == (("cat", "dog"), 2)


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOLCK, errno.EINVAL])
def test_a_file_system_without_locks_is_said_once_and_used(tmp_path, monkeypatch, capsys, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    os.close(take_lock(tmp_path / ".lock", wait=False))
    err = capsys.readouterr().err
    assert err.startswith(f"note: {tmp_path}: has no locks")
    assert err.count("\n") == 1


def test_without_a_home_folder_the_cache_is_a_temporary_one(monkeypatch, tmp_path):
    def homeless(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("pathlib.Path.home", homeless)
    monkeypatch.setattr("pathlib.Path.expanduser", homeless)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert data_root(None) == tmp_path / f"cnnbench-{os.getuid()}"
    with pytest.raises(ConfigError, match=r"data\.root=~/images: there is no such home folder"):
        data_root("~/images")


def test_a_cache_that_cannot_be_written_costs_the_advice_alone(train, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    train("run", "device=auto", "device.precision=auto")


@pytest.mark.parametrize("left", ["metrics.jsonl", "checkpoints"])
def test_what_is_left_of_a_run_without_a_summary_is_refused_before_training(train, tmp_path, left):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / left).mkdir() if left == "checkpoints" else (tmp_path / "old" / left).write_text("{}\n")
    train("old", exit_code=65)


def test_more_threads_than_a_machine_has_are_refused_before_training(cnnbench):
    exit_code, _, err = cnnbench("train", *TINY, "device.threads=100000")
    assert exit_code == 2
    assert err.startswith("error: device.threads=100000: should be a whole number >= 1 and <= 1024")


BOMBS = {
    "deep": "[" * 40 + "]" * 40,
    "aliases": "a: &a [1, 2]\nb: [*a, *a]\n",
    "large": "#" * 1_000_001,
}


@pytest.mark.parametrize("kind", BOMBS)
def test_deep_aliased_and_large_yaml_of_the_users_own_is_refused(cnnbench, tmp_path, kind):
    for group in ("model", "ablation"):
        (tmp_path / "conf" / group).mkdir(parents=True)
        (tmp_path / "conf" / group / "mine.yaml").write_text(BOMBS[kind])
    for command in (["train", "model=mine", "--config-dir", "conf"], ["ablate", "ablation=mine", "--config-dir=conf"]):
        exit_code, _, err = cnnbench(*command)
        assert exit_code == 2
        assert "mine.yaml: cannot be read" in err


def start(tmp_path, redirection, *arguments):
    """Runs `cnnbench` in a shell with this redirection; gives back its exit code and stderr."""
    code = "from cnnbench.cli import main; main()"
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"]])
def test_closed_streams_are_no_bugs(tmp_path, redirection, arguments):
    assert start(tmp_path, redirection, *arguments) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"]])
def test_output_that_cannot_be_written_exits_with_the_code_of_a_full_disk(tmp_path, arguments):
    exit_code, err = start(tmp_path, ">/dev/full", *arguments)
    assert (exit_code, err) == (74, "error: standard output: No space left on device; send it elsewhere\n")
    assert start(tmp_path, "2>/dev/full", *arguments)[0] == 0


def test_a_folder_that_was_deleted_is_said(tmp_path):
    command = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
    code = "from cnnbench.cli import main; main()"
    done = subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-c", code, "train"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 74
    assert done.stderr == "error: the current folder: was deleted; go to one that is there\n"


def test_a_crash_that_cannot_be_logged_is_still_one_line(cnnbench, monkeypatch):
    monkeypatch.setitem(sys.modules, "cnnbench.commands.list", None)
    monkeypatch.setattr("tempfile.mkstemp", lambda **_: (_ for _ in ()).throw(OSError(errno.EROFS, "read-only")))
    exit_code, _, err = cnnbench("list")
    assert (exit_code, err.count("\n")) == (1, 1)
    assert err.endswith("--debug shows where\n")

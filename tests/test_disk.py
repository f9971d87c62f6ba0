import errno
import os

import pytest

from cnnbench.disk import disk_errors, write_atomically
from cnnbench.errors import DiskError

OLD, NEW = b"old " * 100, b"new " * 200


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "summary.json"
    path.write_bytes(OLD)
    return path


def fails_with(number):
    def operation(*_, **__):
        raise OSError(number, os.strerror(number))

    return operation


class FullDisk:
    """A file of which only the first bytes find room."""

    def __init__(self, descriptor, mode):
        self._file = real_fdopen(descriptor, mode)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def write(self, content):
        self._file.write(content[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


real_fdopen = os.fdopen


def test_writing_replaces_the_content_and_leaves_nothing_else(file):
    write_atomically(file, NEW)
    assert file.read_bytes() == NEW
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.parametrize(
    ("operation", "number"),
    [("open", errno.EACCES), ("fsync", errno.EIO), ("replace", errno.EROFS), ("fdopen", errno.ENOSPC)],
)
def test_a_failure_at_any_step_keeps_the_old_file_and_no_temporary(monkeypatch, file, operation, number):
    monkeypatch.setattr(os, operation, FullDisk if operation == "fdopen" else fails_with(number))
    with pytest.raises(DiskError) as caught:
        write_atomically(file, NEW)
    monkeypatch.undo()
    assert file.read_bytes() == OLD
    assert os.listdir(file.parent) == [file.name]
    (finding,) = caught.value.findings
    assert finding.startswith(f"{file}: {os.strerror(number)} (")
    assert caught.value.exit_code == 74


def test_content_and_folder_are_synced_before_and_after_the_replacement(monkeypatch, file):
    calls = []

    def recorded(name, operation):
        def call(*arguments, **options):
            calls.append(name)
            return operation(*arguments, **options)

        monkeypatch.setattr(os, name, call)

    recorded("fsync", os.fsync)
    recorded("replace", os.replace)
    write_atomically(file, NEW)
    assert calls == ["fsync", "replace", "fsync"]


def test_the_old_file_is_still_there_while_the_new_one_is_written(monkeypatch, file):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(file.read_bytes()))
    write_atomically(file, NEW)
    assert seen == [OLD, NEW]


def test_a_link_waiting_at_the_temporary_name_is_not_followed(file, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / f".tmp-{file.name}-{os.getpid()}").symlink_to(victim)
    write_atomically(file, NEW)
    assert victim.read_bytes() == b"precious"
    assert file.read_bytes() == NEW
    assert sorted(os.listdir(tmp_path)) == [file.name, "victim"]


def test_a_link_put_there_between_check_and_open_is_refused(monkeypatch, file, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    real_open = os.open

    def late(path, *arguments, **options):
        if str(path).endswith(str(os.getpid())):
            os.symlink(victim, path)
        return real_open(path, *arguments, **options)

    monkeypatch.setattr(os, "open", late)
    with pytest.raises(DiskError):
        write_atomically(file, NEW)
    assert (victim.read_bytes(), file.read_bytes()) == (b"precious", OLD)


def test_a_disk_error_says_how_many_bytes_are_free_even_for_a_folder_not_yet_made(monkeypatch, tmp_path):
    state = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: state)
    path = tmp_path / "not" / "there" / "file"
    with pytest.raises(DiskError) as caught, disk_errors(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    free = f"({state.f_bavail * state.f_frsize:,} bytes free)"
    assert str(caught.value) == f"{path}: No space left on device {free}; choose another folder with hydra.run.dir=PATH"


def test_other_exceptions_pass_unchanged(tmp_path):
    with pytest.raises(KeyError), disk_errors(tmp_path):
        raise KeyError("a bug")

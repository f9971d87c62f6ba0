import hashlib
import io
import multiprocessing
import time
import urllib.error
import urllib.request

import pytest

from cnnbench.data import download
from cnnbench.data.download import Remote, obtain
from cnnbench.disk import data_root
from cnnbench.errors import DataError, DiskError

CONTENT = b"pixels" * 1000
REMOTE = Remote("https://example.org/a/images.gz", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


class Web:
    """Serves `content` for every address and counts the requests."""

    def __init__(self, content=CONTENT):
        self.content = content
        self.asked = []

    def __call__(self, url):
        self.asked.append(url)
        return io.BytesIO(self.content)


@pytest.fixture
def web(monkeypatch):
    served = Web()
    monkeypatch.setattr(download, "open_url", served)
    return served


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".cnnbench.lock")


def test_a_download_is_verified_kept_and_not_repeated(tmp_path, web):
    for _ in range(2):
        assert obtain(REMOTE, tmp_path / "new" / "folder", download=True).read_bytes() == CONTENT
    assert web.asked == [REMOTE.url]
    assert names(tmp_path / "new" / "folder") == ["images.gz"]


def test_nothing_is_fetched_unless_allowed(tmp_path, web):
    with pytest.raises(DataError, match=r"set data\.download=true, or fetch https://example\.org/a/images\.gz"):
        obtain(REMOTE, tmp_path, download=False)
    assert web.asked == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CONTENT[:-1] + b"X", "sha256 is"),
        (CONTENT[:-1], "sent 5999 of the expected 6000 bytes"),
        (CONTENT * 2, "more than the expected 6000 bytes"),
        (b"", "sent 0 of"),
    ],
)
def test_what_is_not_the_expected_file_leaves_nothing_behind(tmp_path, web, content, message):
    web.content = content
    with pytest.raises(DataError, match=message) as caught:
        obtain(REMOTE, tmp_path, download=True)
    assert REMOTE.url in str(caught.value)
    assert names(tmp_path) == []


def test_a_file_of_the_users_is_never_replaced(tmp_path, web):
    (tmp_path / "images.gz").write_bytes(b"mine")
    assert obtain(REMOTE, tmp_path, download=True).read_bytes() == b"mine"
    assert web.asked == []


def test_without_a_network_one_line_says_what_to_put_where(tmp_path, monkeypatch):
    def offline(url):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(download, "open_url", offline)
    with pytest.raises(DataError) as caught:
        obtain(REMOTE, tmp_path, download=True)
    assert str(caught.value) == (
        f"{REMOTE.url}: cannot be fetched (no route to host); "
        f"fetch it on another machine and put it at {tmp_path}/images.gz"
    )


def test_a_connection_that_breaks_leaves_nothing_behind(tmp_path, monkeypatch):
    class Breaking(io.BytesIO):
        def read(self, size=-1):
            if self.tell():
                raise TimeoutError("timed out")
            return super().read(100)

    monkeypatch.setattr(download, "open_url", lambda url: Breaking(CONTENT))
    with pytest.raises(DataError, match="timed out"):
        obtain(REMOTE, tmp_path, download=True)
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_a_disk_error(tmp_path, web):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskError, match=r"Not a directory .* choose another data\.root"):
        obtain(REMOTE, tmp_path / "file" / "folder", download=True)


def test_plain_http_is_refused_at_once_and_as_a_redirect():
    with pytest.raises(urllib.error.URLError, match="only https"):
        download._open("http://example.org/images.gz")
    request = urllib.request.Request(REMOTE.url)
    redirect = download._HttpsOnly().redirect_request
    with pytest.raises(urllib.error.URLError, match="not https"):
        redirect(request, None, 302, "Found", {}, "http://example.org/images.gz")
    assert redirect(request, None, 302, "Found", {}, "https://example.com/b").full_url == "https://example.com/b"


def fetch_slowly(folder, log):
    def slow(url):
        with log.open("a") as file:
            file.write("asked\n")
        time.sleep(0.3)
        return io.BytesIO(CONTENT)

    download.open_url = slow
    assert obtain(REMOTE, folder, download=True).read_bytes() == CONTENT


def test_a_second_process_waits_and_reuses_the_first_ones_file(tmp_path):
    fork = multiprocessing.get_context("fork")
    jobs = [fork.Process(target=fetch_slowly, args=(tmp_path / "data", tmp_path / "log")) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "asked\n"


def test_downloads_go_to_the_cache_folder_unless_root_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_root(None) == tmp_path / "cnnbench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(data_root(None)) == "/home/someone/.cache/cnnbench"
    assert str(data_root("~/data")) == "/home/someone/data"

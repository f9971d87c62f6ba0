import gzip
import struct

import pytest
import torch

from cnnbench.data import DATASETS, idx
from cnnbench.data.idx import read_idx
from cnnbench.errors import DataError

PIXELS = bytes(range(24))


def an_idx(shape, values, magic=None):
    return (magic or bytes((0, 0, 8, len(shape)))) + struct.pack(f">{len(shape)}I", *shape) + values


def a_set(folder, suffix="", labels=(3, 9), test_labels=(0,)):
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, numbers in (("train", labels), ("t10k", test_labels)):
        pixels = PIXELS[: 12 * len(numbers)]
        for name, content in (
            ("images-idx3", an_idx((len(numbers), 4, 3), pixels)),
            ("labels-idx1", an_idx((len(numbers),), bytes(numbers))),
        ):
            path = folder / f"{prefix}-{name}-ubyte{suffix}"
            path.write_bytes(gzip.compress(content) if suffix else content)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("folder", [".", "MNIST/raw"])
def test_mnist_is_read_from_bare_files_and_from_torchvisions_layout(tmp_path, folder, suffix):
    a_set(tmp_path / folder, suffix)
    source = DATASETS["mnist"](root=str(tmp_path), download=False)
    train, test = source.read("train"), source.read("test")
    assert source.image_shape == (1, 4, 3)
    assert train.images.flatten().tolist() == list(PIXELS)
    assert train.labels.tolist() == [3, 9]
    assert train.labels.dtype == torch.int64
    assert test.labels.tolist() == [0]


@pytest.mark.parametrize(
    "spell",
    [
        lambda name: name.replace("-idx", ".idx"),
        lambda name: name.replace("-idx", ".idx") + ".gz",
        lambda name: f"{name}/{name}",
        lambda name: f"{name.replace('-idx', '.idx')}/{name}",
        lambda name: f"{name}/{name}.gz",
        lambda name: f"MNIST/raw/{name.replace('-idx', '.idx')}",
    ],
)
def test_the_files_are_found_in_every_spelling_that_people_have(tmp_path, spell):
    a_set(tmp_path / "plain")
    for path in (tmp_path / "plain").iterdir():
        target = tmp_path / "root" / spell(path.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes()
        target.write_bytes(gzip.compress(content) if target.suffix == ".gz" else content)
    source = DATASETS["mnist"](root=str(tmp_path / "root"), download=False)
    assert source.read("train").labels.tolist() == [3, 9]
    assert source.read("test").images.flatten().tolist() == list(PIXELS[:12])


def test_a_file_is_unpacked_for_what_it_holds_and_not_for_its_name(tmp_path):
    a_set(tmp_path)
    for path in tmp_path.iterdir():  # as a browser leaves it that has unpacked the download
        path.rename(f"{path}.gz")
    assert DATASETS["mnist"](root=str(tmp_path), download=False).read("train").labels.tolist() == [3, 9]
    for path in tmp_path.iterdir():
        path.with_suffix("").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert DATASETS["mnist"](root=str(tmp_path), download=False).read("train").labels.tolist() == [3, 9]


def test_a_missing_set_says_in_one_line_what_to_fetch_from_where_to_where(tmp_path):
    with pytest.raises(DataError) as caught:
        DATASETS["fashion_mnist"](root=str(tmp_path), download=False)
    (line,) = caught.value.findings
    assert "\n" not in line
    assert f"{tmp_path}/FashionMNIST/raw/train-images-idx3-ubyte.gz" in line
    assert "https://" in line
    assert "data.download=true" in line


def test_the_cache_folder_is_searched_when_root_is_null(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    a_set(tmp_path / "cnnbench" / "MNIST" / "raw", ".gz")
    assert DATASETS["mnist"](root=None, download=False).read("train").labels.tolist() == [3, 9]


def test_debians_folder_is_used_when_root_is_null(tmp_path, monkeypatch):
    monkeypatch.setattr(idx, "DEBIAN_FASHION", tmp_path)
    a_set(tmp_path, ".gz")
    source = DATASETS["fashion_mnist"](root=None, download=False)
    assert source.origin == str(tmp_path)
    assert source.class_names[9] == "Ankle boot"


GOOD = an_idx((2, 4, 3), PIXELS)
MALFORMED = {
    "empty": b"",
    "text": b"not an idx file at all",
    "wrong type": an_idx((2, 4, 3), PIXELS, magic=bytes((0, 0, 0x0D, 3))),
    "labels instead of images": an_idx((24,), PIXELS),
    "header cut": GOOD[:9],
    "values cut": GOOD[:-1],
    "too many values": GOOD + b"x",
    "a giant stated": an_idx((2**31, 2**31, 2**31), PIXELS),
    "no images": an_idx((0, 4, 3), b""),
}


@pytest.mark.parametrize("kind", MALFORMED)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_malformed_file_is_named(tmp_path, kind, suffix):
    path = tmp_path / f"train-images-idx3-ubyte{suffix}"
    path.write_bytes(gzip.compress(MALFORMED[kind]) if suffix else MALFORMED[kind])
    with pytest.raises(DataError, match="train-images-idx3-ubyte") as caught:
        read_idx(path, dimensions=3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "damage", [lambda z: z[:-12], lambda z: z[:20], lambda z: b"x" + z, lambda z: z[:-6] + b"zzzzzz"]
)
def test_a_damaged_gzip_is_named(tmp_path, damage):
    path = tmp_path / "a.gz"
    path.write_bytes(damage(gzip.compress(an_idx((2, 4, 300), bytes(2400)))))
    with pytest.raises(DataError, match=r"a\.gz"):
        read_idx(path, dimensions=3)


def test_a_gzip_that_states_far_more_than_it_can_hold_takes_no_memory(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(an_idx((60000, 2800, 2800), b"")))
    with pytest.raises(DataError, match="cannot hold"):
        read_idx(path, dimensions=3)


def test_a_label_out_of_range_is_named_with_its_value(tmp_path):
    a_set(tmp_path, labels=(3, 10))
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte: image 1 has label 10"):
        DATASETS["mnist"](root=str(tmp_path), download=False).read("train")


def test_as_many_labels_as_images_are_needed(tmp_path):
    a_set(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(an_idx((3,), bytes(3)))
    with pytest.raises(DataError, match="3 labels for the 2 images"):
        DATASETS["mnist"](root=str(tmp_path), download=False).read("train")

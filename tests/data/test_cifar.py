import io
import pickle  # to write files like those of the Python version; cnnbench itself never unpickles
import struct
import tarfile

import numpy as np
import pytest
import torch

from cnnbench.data import DATASETS
from cnnbench.data.cifar_python import parse_batch
from cnnbench.errors import DataError

PER_FILE = 3
RANDOM = np.random.default_rng(0)


def rows(count=PER_FILE):
    return RANDOM.integers(0, 256, (count, 3072), dtype=np.uint8)


def binary_files(label_bytes=1):
    """Six files by name, and the images and labels of the training files in their order."""
    files, images, labels = {}, [], []
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        pixels, numbers = rows(), RANDOM.integers(0, 10, (PER_FILE, 1), dtype=np.uint8)
        files[name] = np.hstack([numbers] * label_bytes + [pixels]).tobytes()
        if name != "test_batch.bin":
            images.append(pixels)
            labels.append(numbers)
    return files, np.concatenate(images).reshape(-1, 3, 32, 32), np.concatenate(labels).flatten()


def write_archive(path, folder, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("packed", [True, False])
def test_the_binary_version_is_read_packed_and_unpacked(tmp_path, packed):
    files, images, labels = binary_files()
    if packed:
        write_archive(tmp_path / "cifar-10-binary.tar.gz", "cifar-10-batches-bin", dict(reversed(files.items())))
    else:
        (tmp_path / "cifar-10-batches-bin").mkdir()
        for name, content in files.items():
            (tmp_path / "cifar-10-batches-bin" / name).write_bytes(content)
    source = DATASETS["cifar10"](root=str(tmp_path), download=False)
    train = source.read("train")
    assert train.images.equal(torch.from_numpy(images))
    assert train.labels.tolist() == labels.tolist()
    assert len(source.read("test")) == PER_FILE
    assert source.class_names[3] == "cat"


def test_cifar100_uses_the_fine_label(tmp_path):
    for name in ("train.bin", "test.bin"):
        (tmp_path / name).write_bytes(bytes((7, 99)) + bytes(3072))
    source = DATASETS["cifar100"](root=str(tmp_path), download=False)
    assert source.read("train").labels.tolist() == [99]
    assert source.num_classes == 100
    assert (source.class_names[0], source.class_names[99]) == ("apple", "worm")


def test_a_cut_binary_file_is_named(tmp_path):
    files, *_ = binary_files()
    files["data_batch_2.bin"] = files["data_batch_2.bin"][:-1]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"data_batch_2.bin: 9218 bytes, expected a multiple of 3073"):
        DATASETS["cifar10"](root=str(tmp_path), download=False).read("train")


def test_a_label_out_of_range_is_named(tmp_path):
    for name in binary_files()[0]:
        (tmp_path / name).write_bytes(bytes((11,)) + bytes(3072))
    with pytest.raises(DataError, match="label 11"):
        DATASETS["cifar10"](root=str(tmp_path), download=False).read("train")


@pytest.mark.parametrize("damage", [lambda a: a[: len(a) // 2], lambda a: b"text", lambda a: a[:-400]])
def test_a_damaged_archive_is_named(tmp_path, damage):
    path = tmp_path / "cifar-10-binary.tar.gz"
    write_archive(path, "cifar-10-batches-bin", binary_files()[0])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz"):
        DATASETS["cifar10"](root=str(tmp_path), download=False).read("test")


def test_only_regular_files_of_the_archive_are_read_and_none_is_written(tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in binary_files()[0]:
            link = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
        archive.addfile(tarfile.TarInfo("../escaped"), io.BytesIO())
    with pytest.raises(DataError, match=r"has no cifar-10-batches-bin/data_batch_1\.bin"):
        DATASETS["cifar10"](root=str(tmp_path), download=False).read("train")
    assert [p.name for p in tmp_path.iterdir()] == ["cifar-10-binary.tar.gz"]


def as_python_2_wrote_it(pixels, labels):
    """The opcodes of the original files: protocol 2, byte strings, an array rebuilt by numpy's old names."""

    def text(value):
        return b"U" + bytes((len(value),)) + value

    numbers = b"".join(b"K" + bytes((n,)) for n in labels)
    dtype = b"cnumpy\ndtype\nq\x0aU\x02u1K\x00K\x01\x87Rq\x0b(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87Rq\x09(K\x01"
        + b"K" + bytes((len(labels),)) + b"M\x00\x0c\x86" + dtype
        + b"\x89T" + struct.pack("<I", pixels.size) + pixels.tobytes() + b"q\x0ctb"
    )  # fmt: skip
    return (
        b"\x80\x02}q\x01(" + text(b"batch_label") + b"q\x02" + text(b"training batch 1 of 5") + b"q\x03"
        + text(b"labels") + b"q\x04]q\x05(" + numbers + b"e" + text(b"data") + b"q\x06" + array
        + text(b"filenames") + b"q\x0d]q\x0e(" + text(b"a.png") + b"q\x0f" + text(b"b.png") + b"q\x10eu."
    )  # fmt: skip


def test_the_original_python_version_is_read_without_unpickling(tmp_path):
    pixels, labels = rows(), [0, 9, 4]
    content = as_python_2_wrote_it(pixels, labels)
    assert pickle.loads(content, encoding="latin1")["labels"] == labels  # the fixture is a true one
    assert parse_batch(content, tmp_path) == (pixels.tobytes(), labels)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", [str, str.encode])
@pytest.mark.parametrize("count", [1, 3, 1200])
def test_batches_that_python_3_wrote_are_read(tmp_path, protocol, kind, count):
    pixels, labels = rows(count), RANDOM.integers(0, 10, count).tolist()
    batch = {
        "batch_label": "one",
        "coarse_labels": [1] * count,
        "fine_labels": labels,
        "data": pixels,
        "filenames": ["f"],
    }
    content = pickle.dumps({kind(key): value for key, value in batch.items()}, protocol=protocol)
    assert parse_batch(content, tmp_path) == (pixels.tobytes(), labels)


def test_torchvisions_folder_is_read(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(as_python_2_wrote_it(rows(), [1, 2, 3]))
    source = DATASETS["cifar10"](root=str(tmp_path), download=False)
    assert source.read("train").labels.tolist() == [1, 2, 3] * 5
    assert source.read("test").images.shape == (3, 3, 32, 32)


class Attack:
    def __reduce__(self):
        return (pytest.fail, ("the file was executed",))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        pickle.dumps({"data": Attack(), "labels": [1]}),
        pickle.dumps({"data": rows(), "labels": [1, 2]}),
        pickle.dumps({"data": np.asfortranarray(rows()), "labels": [1, 2, 3]}, protocol=2),
        pickle.dumps({"data": rows().astype(np.int64), "labels": [1, 2, 3]}, protocol=2),
        as_python_2_wrote_it(rows(), [1, 2, 3])[:-3000],
    ],
)
def test_anything_else_is_refused_and_never_executed(tmp_path, content):
    with pytest.raises(DataError, match=r"data_batch_1: .*; fetch CIFAR's binary version"):
        parse_batch(content, tmp_path / "data_batch_1")

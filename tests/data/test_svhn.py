import numpy as np
import pytest
from scipy.io import savemat

from cnnbench.data import DATASETS
from cnnbench.errors import DataError


def write(path, labels=(10, 1, 9), count=None, dtype=np.uint8):
    images = np.arange(32 * 32 * 3 * (count or len(labels)), dtype=np.int64).reshape(32, 32, 3, -1) % 251
    savemat(path, {"X": images.astype(dtype), "y": np.array(labels).reshape(-1, 1)})
    return images


def source(folder):
    return DATASETS["svhn"](root=str(folder), download=False)


def test_svhn_is_read_and_its_label_10_is_the_digit_0(tmp_path):
    images = write(tmp_path / "train_32x32.mat")
    write(tmp_path / "test_32x32.mat", labels=(5,))
    train = source(tmp_path).read("train")
    assert train.labels.tolist() == [0, 1, 9]
    assert (train.images.numpy() == images.transpose(3, 2, 0, 1)).all()
    assert len(source(tmp_path).read("test")) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: p.write_bytes(b""),
        lambda p: p.write_bytes(p.read_bytes()[:200]),
        lambda p: p.write_bytes(b"text" * 100),
        lambda p: write(p, count=2),
        lambda p: write(p, dtype=np.float64),
        lambda p: write(p, labels=(1, 2, 12)),
        lambda p: savemat(p, {"y": [1]}),
    ],
)
def test_a_malformed_file_is_named(tmp_path, damage):
    for name in ("train_32x32.mat", "test_32x32.mat"):
        write(tmp_path / name)
    damage(tmp_path / "train_32x32.mat")
    with pytest.raises(DataError, match=r"train_32x32\.mat: "):
        source(tmp_path).read("train")

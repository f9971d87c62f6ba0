"""Street View House Numbers, cropped digits, from their MATLAB files (Netzer et al. 2011)."""

from pathlib import Path

import torch

from cnnbench.config.settings import FolderPath
from cnnbench.data.download import Remote, obtain
from cnnbench.data.images import ResidentImages
from cnnbench.data.source import Part, Source, checked_labels
from cnnbench.disk import data_root
from cnnbench.errors import DataError

IMAGE_SHAPE = (3, 32, 32)
DIGITS = tuple("0123456789")
URL = "https://ufldl.stanford.edu/housenumbers"
TRAIN = Remote(f"{URL}/train_32x32.mat", 182040794, "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8")
TEST = Remote(f"{URL}/test_32x32.mat", 64275384, "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b")


def svhn(*, root: FolderPath | None, download: bool) -> Source:
    """Digits of house numbers, 3x32x32, 73,257 + 26,032."""
    folder = data_root(root)
    train, test = (obtain(remote, folder, download) for remote in (TRAIN, TEST))

    def read(part: Part) -> ResidentImages:
        return read_mat(train if part == "train" else test)

    return Source("svhn", str(folder), IMAGE_SHAPE, DIGITS, read)


def read_mat(path: Path) -> ResidentImages:
    """The images `X`, uint8 (32, 32, 3, N) in the file, and the labels `y`, in which 10 stands for the digit 0.

    Raises:
        DataError: the file is damaged or holds something else.
    """
    from scipy.io import loadmat  # 0.3 s, and only this set needs it

    try:
        contents = loadmat(path, variable_names=["X", "y"])
        images, labels = torch.from_numpy(contents["X"]), torch.from_numpy(contents["y"].astype("int64")).flatten()
    except Exception as error:  # scipy names no set of errors for damaged files
        raise DataError(f"{path}: damaged ({type(error).__name__}: {error}); fetch the file again") from error
    if images.dtype != torch.uint8 or images.shape != (32, 32, 3, len(labels)) or not len(labels):
        raise DataError(
            f"{path}: X is {images.dtype} {tuple(images.shape)} with {len(labels)} labels, "
            "expected uint8 (32, 32, 3, N) with N; fetch the file again"
        )
    labels = checked_labels(torch.where(labels == 10, 0, labels), len(DIGITS), path)
    return ResidentImages(images.permute(3, 2, 0, 1).contiguous(), labels)

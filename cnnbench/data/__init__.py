"""Data sets: a name in `conf/data` to a `Source`, a source to the `Splits` that a run trains and tests on."""

from cnnbench.config.tables import Table
from cnnbench.data.cifar import cifar10, cifar100
from cnnbench.data.digits import digits
from cnnbench.data.idx import fashion_mnist, mnist
from cnnbench.data.image_folder import image_folder
from cnnbench.data.images import ImageSet, ImageShape, ResidentImages
from cnnbench.data.packed import PackedImages
from cnnbench.data.source import Part, Source
from cnnbench.data.splits import Splits, split
from cnnbench.data.streaming import StreamedImages
from cnnbench.data.svhn import svhn
from cnnbench.data.synthetic import synthetic

__all__ = [
    "DATASETS",
    "ImageSet",
    "ImageShape",
    "PackedImages",
    "Part",
    "ResidentImages",
    "Source",
    "Splits",
    "StreamedImages",
    "split",
]

DATASETS: Table = {
    "digits": digits,
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "svhn": svhn,
    "image_folder": image_folder,
    "synthetic": synthetic,
}

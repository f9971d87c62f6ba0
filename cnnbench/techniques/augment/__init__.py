"""Batched augmentation on the device: random changes of training images, from noise drawn per image."""

from cnnbench.config.tables import Table
from cnnbench.techniques.augment.augmentation import Augmentation, compose
from cnnbench.techniques.augment.geometry import crop_flip, cutout, flip, rotate
from cnnbench.techniques.augment.policies import augmix, randaugment, trivialaugment

__all__ = ["AUGMENTATIONS", "Augmentation", "compose"]

AUGMENTATIONS: Table = {
    "crop_flip": crop_flip,
    "flip": flip,
    "rotate": rotate,
    "cutout": cutout,
    "randaugment": randaugment,
    "trivialaugment": trivialaugment,
    "augmix": augmix,
}

"""The work that all contenders of peers.py have to do: images, network, optimizer settings."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from cnnbench.assemble import configured_device, make_batches, make_model, make_training
from cnnbench.config.compose import compose
from cnnbench.config.run_config import RunConfig
from cnnbench.data import Source, Splits
from cnnbench.data.batches import TrainBatches
from cnnbench.data.find import find_data, read_splits
from cnnbench.device import Device
from cnnbench.loop import Training
from cnnbench.machine import LoadMeter
from cnnbench.speed.advisor import advise

BATCH, PADDING, CLASSES = 128, 4, 10
LR, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 5e-4
FOREVER = 1_000_000  # epochs, of contenders that stop when told
PLANNED_EPOCHS = 300  # what the advisor plans for: of 40 batches as long as 30 epochs of CIFAR-10
MODELS = {
    "deep": ["model=deep", "model.dropout=0.5"],
    "simple": ["model=simple"],
    "resnet20": ["model=resnet", "model.depth=20"],
    "resnet18": ["model=resnet", "model.depth=18"],
}


@dataclass(frozen=True)
class Work:
    """What all contenders have to do. Knows no device: making one sets torch for the whole process."""

    config: RunConfig
    source: Source
    splits: Splits

    def model(self) -> nn.Module:
        """A new network, always with the same initial weights."""
        return make_model(self.config, self.source.image_shape, self.source.num_classes)

    def images(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All images, uint8 (N, C, H, W), and their labels."""
        count = len(self.splits.train)
        return next(self.splits.train.batches(torch.arange(count), count))


def prepare(model: str, steps: int, *overrides: str) -> Work:
    """`steps` batches of 32x32 RGB images to train one of MODELS on; `overrides` as on cnnbench's command line."""
    config = compose(
        [
            *MODELS[model],
            "data=synthetic",
            "data.image_shape=[3,32,32]",
            f"data.num_classes={CLASSES}",
            f"data.train_images={steps * BATCH}",
            "data.val_fraction=0.0",
            "augmentation=crop_flip",
            "optimizer=sgd",
            f"optimizer.lr={LR}",
            f"optimizer.momentum={MOMENTUM}",
            f"optimizer.weight_decay={WEIGHT_DECAY}",
            "optimizer.nesterov=false",
            "schedule=constant",
            "loss.label_smoothing=0.0",
            f"batch_size={BATCH}",
            f"epochs={PLANNED_EPOCHS}",
            *overrides,
        ]
    )
    source = find_data(config.data)
    return Work(config, source, read_splits(source, config.data, config.seed))


def sgd(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)


class PilImages(Dataset):
    """Images as PIL holds them, transformed one at a time; `augmented` ones are 32x32."""

    def __init__(self, work: Work, *, augmented: bool = True) -> None:
        from torchvision import transforms

        images, labels = work.images()
        self.images = [transforms.functional.to_pil_image(image) for image in images]
        self.labels = labels.tolist()
        augmentation = [transforms.RandomCrop(32, padding=PADDING), transforms.RandomHorizontalFlip()]
        self.transform = transforms.Compose(
            [
                *(augmentation if augmented else []),
                transforms.ToTensor(),
                transforms.Normalize(work.splits.mean.tolist(), work.splits.std.tolist()),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), self.labels[index]


def pil_loader(work: Work, workers: int) -> DataLoader:
    return DataLoader(
        PilImages(work), BATCH, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
    )


def own_training(work: Work) -> tuple[Training, TrainBatches]:
    """What `cnnbench train` makes of the work with `device=auto`; torch is set up for it in the whole process."""
    device = own_device(work)
    device.activate()
    batches = make_batches(work.config, work.splits, device)
    return make_training(work.config, work.model(), batches, work.source.num_classes, device), batches


def own_device(work: Work) -> Device:
    """What the advisor chooses for the work, or chose for it before."""
    device, _ = advise(work.config, work.splits, work.model(), configured_device(work.config), LoadMeter().load())
    return device

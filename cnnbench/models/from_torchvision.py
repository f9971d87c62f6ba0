"""Architectures of torchvision by name, fitted to the images and classes of the run."""

import torch
from torch import nn

from cnnbench.config.mistakes import suggest
from cnnbench.errors import ConfigError
from cnnbench.models.blocks import ImageShape

TRANSFORMERS = ("vit_", "swin_", "maxvit_")  # no convolutional networks, and bound to one image size
# googlenet and inception_v3 otherwise return auxiliary logits, too, and announce a changed start on stderr
EXTRA = {name: {"aux_logits": False, "init_weights": True} for name in ("googlenet", "inception_v3")}


def torchvision(image_shape: ImageShape, num_classes: int, *, architecture: str) -> nn.Module:
    """The convolutional classifier `architecture` of torchvision, with torchvision's random start.

    Where the images have other than 3 channels, the first convolution is replaced by one that takes them.

    Raises:
        ConfigError: torchvision has no such classifier.
    """
    from torchvision import models  # 2 s to import: only for who asks for it

    known = [name for name in models.list_models(module=models) if not name.startswith(TRANSFORMERS)]
    if architecture not in known:
        raise ConfigError(
            f"model.architecture={architecture}: not a convolutional classifier of torchvision"
            f"{suggest(architecture, known)}"
        )
    device = torch.get_default_device()
    # RegNets compute their widths with tensors, which must hold numbers even where the weights need not
    build_on = torch.device("cpu") if architecture.startswith("regnet") else device
    with build_on, torch.random.fork_rng(devices=[], enabled=device.type == "meta"):
        options = EXTRA.get(architecture, {})
        model = models.get_model(architecture, weights=None, num_classes=num_classes, **options).to(device)
    if image_shape[0] != 3:
        _replace_first_convolution(model, image_shape[0])
    return model


def _replace_first_convolution(model: nn.Module, channels: int) -> None:
    name, first = next((name, m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d))
    replacement = nn.Conv2d(
        channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    model.set_submodule(name, replacement)

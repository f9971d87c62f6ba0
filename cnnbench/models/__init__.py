"""The networks: functions of an image shape (C, H, W) and a number of classes, giving modules that give logits."""

from cnnbench.config.tables import Table
from cnnbench.models.airbench import airbench
from cnnbench.models.articles import stacked
from cnnbench.models.classic import alexnet, lenet, vgg
from cnnbench.models.from_torchvision import torchvision
from cnnbench.models.inception import inception
from cnnbench.models.plain import plain
from cnnbench.models.resnet import resnet, wide_resnet

MODELS: Table = {
    "simple": stacked,
    "small3": stacked,
    "deep": stacked,
    "deep_residual": stacked,
    "separable": stacked,
    "plain": plain,
    "lenet": lenet,
    "alexnet": alexnet,
    "vgg": vgg,
    "inception": inception,
    "resnet": resnet,
    "wide_resnet": wide_resnet,
    "airbench": airbench,
    "torchvision": torchvision,
}

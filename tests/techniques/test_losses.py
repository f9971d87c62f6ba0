from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch.testing import assert_close

from cnnbench.config.settings import build, check
from cnnbench.techniques.losses import LOSSES, cross_entropy, smooth_l1

CONF = Path(__file__).parents[2] / "conf" / "loss"
LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, 3.0]])
LABELS = torch.tensor([0, 1])


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_yaml_fits_its_function(file: Path) -> None:
    node = OmegaConf.to_container(OmegaConf.load(file))
    assert check(LOSSES, "loss", node) == []
    assert node["name"] == file.stem
    assert build(LOSSES, "loss", node, num_classes=3)(LOGITS, LABELS) > 0


def test_the_table_and_the_yaml_files_name_the_same() -> None:
    assert {file.stem for file in CONF.glob("*.yaml")} == set(LOSSES)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_smoothed_cross_entropy_equals_its_formula(smoothing: float) -> None:
    targets = (1 - smoothing) * F.one_hot(LABELS, 3) + smoothing / 3
    expected = -(targets * LOGITS.log_softmax(1)).sum(1).mean()
    assert_close(cross_entropy(label_smoothing=smoothing)(LOGITS, LABELS), expected)


@pytest.mark.parametrize("loss", [cross_entropy(label_smoothing=0.1), smooth_l1(3, beta=0.3)])
def test_one_hot_targets_give_the_loss_of_the_labels(loss) -> None:
    assert_close(loss(LOGITS, F.one_hot(LABELS, 3).float()), loss(LOGITS, LABELS))


def test_smooth_l1_equals_its_formula() -> None:
    beta = 0.3
    distance = (LOGITS.softmax(1) - F.one_hot(LABELS, 3)).abs()
    expected = torch.where(distance < beta, distance**2 / (2 * beta), distance - beta / 2).sum(1).mean()
    assert_close(smooth_l1(3, beta=beta)(LOGITS, LABELS), expected)


def test_smooth_l1_of_beta_1_is_half_the_brier_score() -> None:
    brier = (LOGITS.softmax(1) - F.one_hot(LABELS, 3)).square().sum(1).mean()
    assert_close(smooth_l1(3, beta=1.0)(LOGITS, LABELS), brier / 2)


@pytest.mark.parametrize("loss", [cross_entropy(label_smoothing=0.0), smooth_l1(3, beta=1.0)])
def test_losses_are_computed_in_float32(loss) -> None:
    low = LOGITS.bfloat16()
    assert loss(low, LABELS).dtype == torch.float32
    assert_close(loss(low, LABELS), loss(low.float(), LABELS))

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch.testing import assert_close

from cnnbench.config.settings import build, check
from cnnbench.errors import ConfigError
from cnnbench.techniques.losses import LOSSES, Distillation, cross_entropy, smooth_l1

CONF = Path(__file__).parents[2] / "conf" / "loss"
LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, 3.0]])
LABELS = torch.tensor([0, 1])
ANSWERS = torch.tensor([[1.0, 0.0, -2.0], [0.5, 2.0, 1.0]])
SOFT = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.5, 0.5]])


def distillation(temperature=4.0, weight=0.9, label_smoothing=0.0, answers=ANSWERS):
    """The loss of a batch of which the teacher says `answers`."""
    settings = {"temperature": temperature, "weight": weight, "label_smoothing": label_smoothing}
    loss = Distillation(lambda images: answers, teacher="/a/run", **settings)
    loss.on_batch(torch.zeros(2, 1, 8, 8), LABELS)
    return loss


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_yaml_fits_its_function(file: Path) -> None:
    node = OmegaConf.to_container(OmegaConf.load(file))
    assert check(LOSSES, "loss", node) == []
    assert node["name"] == file.stem
    context = {"num_classes": 3, "ask_teacher": lambda images: ANSWERS}
    loss = build(LOSSES, "loss", node | ({"teacher": "/a/run"} if "teacher" in node else {}), **context)
    if isinstance(loss, Distillation):
        loss.on_batch(torch.zeros(2, 1, 8, 8), LABELS)
    assert loss(LOGITS, LABELS) > 0


def test_the_table_and_the_yaml_files_name_the_same() -> None:
    assert {file.stem for file in CONF.glob("*.yaml")} == set(LOSSES)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_smoothed_cross_entropy_equals_its_formula(smoothing: float) -> None:
    targets = (1 - smoothing) * F.one_hot(LABELS, 3) + smoothing / 3
    expected = -(targets * LOGITS.log_softmax(1)).sum(1).mean()
    assert_close(cross_entropy(label_smoothing=smoothing)(LOGITS, LABELS), expected)


@pytest.mark.parametrize("loss", [cross_entropy(label_smoothing=0.1), smooth_l1(3, beta=0.3), distillation()])
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


@pytest.mark.parametrize("loss", [cross_entropy(label_smoothing=0.0), smooth_l1(3, beta=1.0), distillation()])
def test_losses_are_computed_in_float32(loss) -> None:
    low = LOGITS.bfloat16()
    assert loss(low, LABELS).dtype == torch.float32
    assert_close(loss(low, LABELS), loss(low.float(), LABELS))


@pytest.mark.parametrize("targets", [LABELS, SOFT], ids=["labels", "soft targets"])
@pytest.mark.parametrize(("temperature", "weight", "smoothing"), [(4.0, 0.9, 0.0), (1.0, 0.5, 0.1), (0.5, 1.0, 0.0)])
def test_distillation_equals_its_formula(targets, temperature, weight, smoothing) -> None:
    soft = F.one_hot(targets, 3).float() if targets.ndim == 1 else targets
    smoothed = (1 - smoothing) * soft + smoothing / 3
    of_labels = -(smoothed * LOGITS.log_softmax(1)).sum(1).mean()
    teacher, student = ((each / temperature).softmax(1) for each in (ANSWERS, LOGITS))
    divergence = (teacher * (teacher / student).log()).sum(1).mean()
    expected = (1 - weight) * of_labels + weight * temperature**2 * divergence
    assert_close(distillation(temperature, weight, smoothing)(LOGITS, targets), expected)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_gradient_of_distillation_is_the_temperature_times_the_difference_of_probabilities(temperature) -> None:
    logits = LOGITS.clone().requires_grad_()
    distillation(temperature, weight=1.0)(logits, LABELS).backward()
    student, teacher = ((each / temperature).softmax(1) for each in (LOGITS, ANSWERS))
    assert_close(logits.grad, temperature * (student - teacher) / 2)  # of two images


def test_at_a_high_temperature_distillation_matches_centred_logits() -> None:
    """Hinton et al., 2015, equation 4, for logits whose means are not zero."""
    student, teacher = (each - each.mean(1, keepdim=True) for each in (LOGITS, ANSWERS))
    expected = (student - teacher).square().sum(1).mean() / (2 * 3)
    assert_close(distillation(100.0, weight=1.0)(LOGITS, LABELS), expected, rtol=2e-2, atol=1e-3)


def test_at_a_low_temperature_distillation_asks_for_the_teachers_answer_alone() -> None:
    t = 1e-3  # KL becomes the margin that the student's largest logit has over that of the teacher's class, over t
    margin = torch.stack([LOGITS[0].max() - LOGITS[0, 0], LOGITS[1].max() - LOGITS[1, 1]]).mean()
    assert_close(distillation(t, weight=1.0)(LOGITS, LABELS) / t, margin, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_distillation_of_weight_0_is_cross_entropy_bit_for_bit(smoothing) -> None:
    ours, theirs = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    loss = distillation(weight=0.0, label_smoothing=smoothing)(ours, LABELS)
    plain = cross_entropy(label_smoothing=smoothing)(theirs, LABELS)
    loss.backward()
    plain.backward()
    assert torch.equal(loss, plain)
    assert torch.equal(ours.grad, theirs.grad)


def test_distillation_of_weight_1_does_not_look_at_the_labels() -> None:
    loss = distillation(weight=1.0)
    assert torch.equal(loss(LOGITS, LABELS), loss(LOGITS, LABELS.flip(0)))


def test_a_student_that_says_what_its_teacher_says_has_nothing_to_learn_from_it() -> None:
    assert_close(distillation(weight=1.0)(ANSWERS + 3.0, LABELS), torch.tensor(0.0), rtol=0, atol=1e-6)


def test_distillation_without_a_teacher_says_what_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"loss\.teacher: which run"):
        Distillation(None, teacher=None, temperature=4.0, weight=0.9, label_smoothing=0.0)

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from cnnbench.data import ResidentImages
from cnnbench.data.batches import TrainBatches
from cnnbench.device import make_device
from cnnbench.errors import DivergedError
from cnnbench.inference import Evaluation
from cnnbench.loop import (
    Training,
    check_finite,
    fit,
    gradient_norms,
    note_best,
    train_one_epoch,
    train_step,
)
from cnnbench.seeds import generator
from cnnbench.techniques.callback import Callback
from cnnbench.techniques.regularizers import SAM, SWA, GradientClip

IMAGES = torch.randn(12, 2, 4, 4, generator=generator(0))
LABELS = torch.arange(12) % 3


def tiny(classes=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, classes))


def make_training(*callbacks, lr=0.1, schedule=lambda step: 1.0, precision="fp32", model=None):
    model = model or tiny()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    for group in optimizer.param_groups:
        group["initial_lr"] = lr
    device = make_device("cpu", precision, "contiguous", threads=1)
    named = {str(number): callback for number, callback in enumerate(callbacks)}
    return Training(model, F.cross_entropy, optimizer, schedule, named, device)


def make_batches(batch_size=4):
    pixels = torch.randint(0, 256, (12, 2, 4, 4), generator=generator(0), dtype=torch.uint8)
    return TrainBatches(ResidentImages(pixels, LABELS), batch_size, 0, None, lambda images: images.float() / 255)


def nothing(*_):
    pass


def run_fit(training, *, epochs=3, validation=((IMAGES, LABELS),), target=None, batches=None):
    """What `after_epoch` was told, epoch by epoch."""
    told = []
    fit(training, batches or make_batches(), validation, epochs=epochs, target=target, views="none",
        after_batch=nothing, after_epoch=lambda _, metrics, is_best: told.append((metrics, is_best)))  # fmt: skip
    return told


class Recording(Callback):
    """Writes every call into `calls` with its name."""

    def __init__(self, name, calls, stop=False):
        self.name, self.calls, self.stop = name, calls, stop

    def note(self, what):
        self.calls.append(f"{what} {self.name}")

    def on_batch(self, images, targets):
        self.note("batch")
        return images + 1, targets

    def penalty(self, model):
        self.note("penalty")

    def on_gradients(self, model, recompute):
        self.note("gradients")

    def after_step(self, model):
        self.note("after")

    def model_for_evaluation(self, model):
        self.note("model")
        return nn.Sequential(model)

    def should_stop(self, metrics):
        self.note("stop")
        return self.stop


def test_a_step_is_bitwise_that_of_the_hand_written_loop():
    training, model = make_training(lr=0.2, schedule=lambda step: 1 / (step + 1)), tiny()
    reference = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    for step in range(3):
        reference.param_groups[0]["lr"] = 0.2 / (step + 1)
        train_step(training, IMAGES, LABELS)
        reference.zero_grad()
        F.cross_entropy(model(IMAGES), LABELS).backward()
        reference.step()
    assert training.step == 3
    for ours, expected in zip(training.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, expected)


def test_the_penalties_of_all_callbacks_are_added_to_the_loss_and_not_to_what_is_reported():
    class Penalty(Callback):
        def penalty(self, model):
            return 0.5 * model[0].weight.square().sum()

    training, model = make_training(Penalty(), Callback(), Penalty()), tiny()
    plain = F.cross_entropy(model(IMAGES), LABELS)
    (plain + model[0].weight.square().sum()).backward()
    train_step(training, IMAGES, LABELS)
    assert_close(training.model[0].weight.grad, model[0].weight.grad)
    assert float(training.sums.loss) / 12 == pytest.approx(plain.item(), rel=1e-6)


def test_callbacks_are_called_in_their_order_and_the_evaluation_model_in_reverse():
    calls = []
    training = make_training(Recording("a", calls), Recording("b", calls, stop=True))
    seen = []
    training.forward = lambda images: seen.append(images) or training.model(images)
    train_step(training, IMAGES, LABELS)
    moments = ("batch", "penalty", "gradients", "after")
    assert calls == [f"{moment} {name}" for moment in moments for name in "ab"]
    assert torch.equal(seen[0], IMAGES + 1 + 1)
    calls.clear()
    assert training.evaluation_model()[0][0] is training.model
    assert calls == ["model b", "model a"]


def test_recompute_runs_forward_and_backward_of_the_same_batch_at_the_current_weights():
    class Second(Callback):
        def on_gradients(self, model, recompute):
            with torch.no_grad():
                model[0].bias += 1
            recompute()
            self.gradient = model[0].weight.grad.clone()

    second, model = Second(), tiny()
    train_step(make_training(second), IMAGES, LABELS)
    with torch.no_grad():
        model[0].bias += 1
    F.cross_entropy(model(IMAGES), LABELS).backward()
    assert_close(second.gradient, model[0].weight.grad)


def test_a_skipped_step_advances_neither_step_nor_schedule_and_calls_no_after_step():
    calls, asked = [], []
    training = make_training(Recording("a", calls), precision="fp16", schedule=lambda step: asked.append(step) or 1.0)
    training.device.load_state_dict(training.device.state_dict() | {"scale": 2.0**40})
    train_step(training, IMAGES, LABELS)
    assert (training.step, training.skipped_steps) == (0, 1)
    assert "after a" not in calls
    training.device.load_state_dict(training.device.state_dict() | {"scale": 1.0})
    train_step(training, IMAGES, LABELS)
    assert (training.step, training.skipped_steps) == (1, 1)
    assert asked == [0, 0]
    assert calls.count("after a") == 1


def test_a_skipped_last_step_loses_no_snapshot_of_an_average():
    model = tiny()
    swa = SWA(model, 3, 1, start=0.0)
    training = make_training(swa, precision="fp16", model=model)

    def overflow_next(training, _):
        training.device.load_state_dict(training.device.state_dict() | {"scale": 2.0 ** (40 * (training.batch == 2))})

    train_one_epoch(training, make_batches(), overflow_next)
    assert (training.step, training.skipped_steps, swa.snapshots) == (2, 1, 1)
    assert_close(list(training.evaluation_model().parameters()), list(model.parameters()))


def test_before_an_evaluation_callbacks_see_its_model_and_the_epochs_batches_augmented_but_not_mixed():
    class Looking(Recording):
        def before_evaluation(self, model, batches):
            self.calls.append((model, list(batches)))

    calls = []
    training, batches = make_training(Looking("a", calls), Looking("b", calls)), make_batches()
    training.epoch = 2
    train_one_epoch(training, batches, nothing)
    for model, seen in [call for call in calls if isinstance(call, tuple)]:
        assert model[0][0] is training.model
        assert_close(seen, list(batches.epoch(2)))


def test_training_accuracy_and_loss_of_an_epoch_weight_batches_by_their_size():
    model, training = tiny(), make_training(lr=0.0)
    for part in (slice(0, 8), slice(8, 12)):
        train_step(training, IMAGES[part], LABELS[part])
    logits = model(IMAGES)
    assert training.sums.images == 12
    assert int(training.sums.correct) == int((logits.argmax(1) == LABELS).sum())
    assert float(training.sums.loss) / 12 == pytest.approx(F.cross_entropy(logits, LABELS).item(), rel=1e-6)


def test_soft_targets_count_as_correct_where_the_largest_share_is_predicted():
    class Soften(Callback):
        def on_batch(self, images, targets):
            return images, 0.7 * F.one_hot(targets, 3) + 0.1

    training = make_training(Soften())
    correct = int((tiny()(IMAGES).argmax(1) == LABELS).sum())
    train_step(training, IMAGES, LABELS)
    assert int(training.sums.correct) == correct > 0


def test_a_loss_that_is_not_a_number_names_epoch_step_and_learning_rate_of_the_first():
    training = make_training(lr=0.5, schedule=lambda step: 1 - step / 10)
    training.epoch = 1
    for images in (IMAGES, IMAGES * float("nan"), IMAGES):
        train_step(training, images, LABELS)
    with pytest.raises(DivergedError, match=r"epoch 2, step 2, lr 0\.45; lower optimizer\.lr") as caught:
        check_finite(training)
    assert caught.value.exit_code == 3


def test_an_epoch_without_trouble_is_finite_and_its_line_complete():
    training = make_training(schedule=lambda step: 0.5**step)
    metrics = train_one_epoch(training, make_batches(), nothing)
    assert (metrics["epoch"], metrics["step"], metrics["skipped_steps"]) == (1, 3, 0)
    assert metrics["lr"] == 0.1 * 0.25  # of the last step
    assert metrics["images_per_second"] == pytest.approx(12 / metrics["seconds"])
    assert training.train_seconds == metrics["seconds"] > 0
    assert (training.epoch, training.batch, training.lr_at(training.step)) == (1, 0, 0.1 * 0.125)


def test_an_epoch_interrupted_and_gone_on_with_gives_the_same_weights_and_sums():
    class Stop(Exception):
        pass

    def stop_after_two(training, _):
        if training.batch == 2:
            raise Stop

    straight, broken = make_training(), make_training()
    expected = train_one_epoch(straight, make_batches(), nothing)
    with pytest.raises(Stop):
        train_one_epoch(broken, make_batches(), stop_after_two)
    assert (broken.step, broken.sums.images) == (2, 8)
    metrics = train_one_epoch(broken, make_batches(), nothing)
    for key in ("epoch", "step", "train_loss", "train_accuracy", "lr", "gradient_norms"):
        assert metrics[key] == expected[key]


def test_dropout_is_on_while_training_and_depends_on_seed_and_epoch_only():
    def losses(global_seed):
        training = make_training(lr=0.0, model=nn.Sequential(tiny(), nn.Dropout(0.5)).eval())
        torch.manual_seed(global_seed)
        for _ in range(2):
            yield train_one_epoch(training, make_batches(), nothing)["train_loss"], torch.initial_seed()

    (first, seed), (second, next_seed) = losses(1)
    assert list(losses(2)) == [(first, seed), (second, next_seed)]
    assert seed != next_seed
    plain = train_one_epoch(make_training(lr=0.0), make_batches(), nothing)["train_loss"]
    assert len({first, second, plain}) == 3


def test_gradient_norms_are_those_of_the_weights_without_biases():
    model = tiny()
    assert gradient_norms(model) == {}
    F.cross_entropy(model(IMAGES), LABELS).backward()
    norms = {name: p.grad.square().sum().sqrt() for name, p in model.named_parameters() if "weight" in name}
    assert_close(gradient_norms(model), norms)


@pytest.mark.parametrize("changing", [GradientClip(max_norm=1e-3), SAM(rho=5.0)])
def test_an_epoch_reports_the_gradients_of_its_last_step_before_they_are_changed(changing):
    model, training, batches = tiny(), make_training(changing, lr=0.0), make_batches()
    *_, (images, labels) = batches.epoch(0)
    F.cross_entropy(model(images), labels).backward()
    norms = {name: p.grad.norm().item() for name, p in model.named_parameters() if "weight" in name}
    assert train_one_epoch(training, batches, nothing)["gradient_norms"] == pytest.approx(norms, rel=1e-5)


def test_fit_validates_what_the_callbacks_keep_and_trains_all_epochs():
    class Zero(Callback):
        def model_for_evaluation(self, model):
            return nn.Sequential(nn.Flatten(), nn.Linear(32, 3)).apply(
                lambda module: [p.data.zero_() for p in module.parameters(recurse=False)]
            )

    told = run_fit(make_training(Zero()))
    assert [metrics["epoch"] for metrics, _ in told] == [1, 2, 3]
    assert [metrics["val_loss"] for metrics, _ in told] == [pytest.approx(math.log(3))] * 3
    assert [is_best for _, is_best in told] == [True, False, False]  # equal is not better


def test_every_callback_is_asked_whether_to_stop_and_one_is_enough():
    calls = []
    told = run_fit(make_training(Recording("a", calls, stop=True), Recording("b", calls)))
    assert len(told) == 1
    assert [call for call in calls if call.startswith("stop")] == ["stop a", "stop b"]


def test_a_training_that_a_callback_has_ended_does_not_go_on_when_resumed():
    training = make_training(Recording("a", [], stop=True))
    run_fit(training)
    assert training.stopped
    assert run_fit(training, epochs=9) == []
    assert training.step == 3


def test_while_something_is_unsettled_no_epoch_is_the_best_reaches_the_target_or_stops():
    class Pruning(Callback):
        def is_settled(self):
            return training.epoch >= 3

        def should_stop(self, metrics):
            return True

    training = make_training(Pruning())
    told = run_fit(training, epochs=5, target=0.001)
    assert [is_best for _, is_best in told] == [False, False, True]
    assert training.best_epoch == 3
    assert training.time_to_target == training.train_seconds


def test_the_best_epoch_has_the_highest_accuracy_and_among_equals_the_lowest_loss():
    training = make_training()
    told = []
    for training.epoch, (accuracy, loss) in enumerate([(0.5, 2), (0.4, 1), (0.7, 2), (0.7, 2), (0.7, 1)], start=1):
        training.train_seconds += 10
        told.append(note_best(training, Evaluation(loss, accuracy, 1.0, IMAGES, LABELS), target=0.6))
    assert told == [True, False, True, False, True]
    assert (training.best_epoch, training.best_val_accuracy, training.time_to_target) == (5, 0.7, 30)


def test_without_validation_the_latest_epoch_is_the_best_and_no_target_is_reached():
    training = make_training()
    told = run_fit(training, validation=(), target=0.01)
    assert [is_best for _, is_best in told] == [True, True, True]
    assert (training.best_epoch, training.best_val_accuracy, training.time_to_target) == (3, None, None)
    assert told[0][0]["val_loss"] is None


def test_weights_broken_by_the_last_step_of_an_epoch_are_never_kept():
    training = make_training(lr=1e38)
    with pytest.raises(DivergedError, match=r"the validation loss is not finite at epoch 1, step 1, lr 1e\+38"):
        run_fit(training, batches=make_batches(batch_size=12))
    assert training.best_epoch is None

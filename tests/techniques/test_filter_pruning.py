import copy
import json

import pytest
import torch
import yaml
from tiny import set_summary, summary
from torch import nn

from cnnbench.assemble import make_model
from cnnbench.config.compose import compose
from cnnbench.runs.identity import config_hash
from cnnbench.techniques.filter_pruning import remove_masked_filters
from cnnbench.techniques.pruning import filters
from cnnbench.trained.load import load_trained

SHAPE = (3, 16, 16)


def masked(overrides, amount=0.5, scope="layer"):
    """A network in eval mode whose filters have been masked, norms that have seen images among them."""
    model = make_model(compose([*overrides, "device=cpu"]), SHAPE, 4)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(16, *SHAPE, generator=generator)
    model.train()(images)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.bias is not None):
        nn.init.normal_(norm.bias)  # so that a masked filter would give a constant
    pruning = filters(
        model, 1, 4, SHAPE, amount=amount, norm="l2", scope=scope, schedule="one_shot", start_epoch=1, end_epoch=None,
        finalize="filters",
    )  # fmt: skip
    pruning.on_batch(images, torch.zeros(16))
    return pruning.model_for_evaluation(model).eval(), images


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize(
    "overrides",
    [
        ["model=deep", "model.widths=[8,16]", "model.hidden=8"],
        ["model=resnet", "model.width_multiplier=0.5"],
        ["model=separable", "model.widths=[8,16]", "model.hidden=8"],
        ["model=inception", "model.width_multiplier=0.125"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_what_is_masked_can_be_removed_without_a_change(overrides, scope):
    model, images = masked(overrides, scope=scope)
    cut = copy.deepcopy(model)
    remove_masked_filters(cut, SHAPE)
    before, after = (sum(p.numel() for p in m.parameters()) for m in (model, cut))
    assert after < 0.75 * before
    with torch.no_grad():
        assert torch.allclose(cut(images), model(images), atol=1e-5)


def test_half_of_the_filters_of_each_layer_go():
    model, _ = masked(["model=deep", "model.widths=[8,16]", "model.hidden=8"])
    remove_masked_filters(model, SHAPE)
    assert [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)] == [4, 8]


def test_a_network_without_masks_is_left_as_it_is():
    model = make_model(compose(["model=deep", "model.widths=[8,16]"]), SHAPE, 4).eval()
    before = copy.deepcopy(model.state_dict())
    remove_masked_filters(model, SHAPE)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_run_whose_pruning_is_finalized_keeps_the_smaller_network(train, cnnbench):
    settings = ("model=deep", "model.widths=[8,16]", "data.image_shape=[1,12,12]", "pruning=filter",
                "pruning.amount=0.5", "epochs=4")  # fmt: skip
    path, plain = train("cut", *settings, "pruning.finalize=filters"), train("masks", *settings)
    assert summary(path)["parameters"] < 0.5 * summary(plain)["parameters"]
    assert summary(path)["macs"] < 0.5 * summary(plain)["macs"]
    assert summary(path)["nonzero_parameters"] <= summary(path)["parameters"]
    evaluation = json.loads(cnnbench("evaluate", path, "--json")[1])
    assert evaluation["accuracy"] == pytest.approx(summary(path)["test_accuracy"])
    assert cnnbench("verify", path)[0] == 0
    convs = [m.out_channels for m in load_trained(path).model.modules() if isinstance(m, nn.Conv2d)]
    assert convs == [4, 8]


def test_a_run_made_before_there_was_finalize_still_loads(train, cnnbench):
    path = train("run", "pruning=filter")
    config = path / "config.yaml"
    text = config.read_text().replace("  finalize: masks\n", "")
    assert text != config.read_text()
    config.write_text(text)
    assert cnnbench("evaluate", path)[0] == 65  # its hash is that of today's config
    set_summary(path, config_hash=config_hash(yaml.safe_load(text)))
    assert cnnbench("evaluate", path)[0] == 0

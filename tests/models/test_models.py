"""Every model through its YAML file: shapes, published sizes and what its settings change."""

import copy
import math
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from cnnbench.config.settings import build, check, settings
from cnnbench.errors import ConfigError
from cnnbench.models import MODELS
from cnnbench.models.blocks import Residual, SumPool2d
from cnnbench.models.describe import Description, walk

CONF = Path(__file__).parents[2] / "conf" / "model"
OWN = [name for name in MODELS if name != "torchvision"]
ANY_SIZE = [name for name in OWN if name not in ("airbench", "small3")]  # which need 9x9 and 18x18
NETS_OF_THE_ARTICLES = ["simple", "small3", "deep", "deep_residual", "separable"]
CIFAR = (3, 32, 32)
SHAPES = [(1, 8, 8), (3, 64, 48), (4, 17, 23)]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Nets this small are faster on one thread, above all beside other test processes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def node(name: str, **changes) -> dict:
    return yaml.safe_load((CONF / f"{name}.yaml").read_text()) | changes


def model(name: str, image_shape=CIFAR, num_classes=10, **changes) -> nn.Module:
    return build(MODELS, "model", node(name, **changes), image_shape=image_shape, num_classes=num_classes)


def narrow(name: str) -> dict:
    return {"width_multiplier": 0.25} if "width_multiplier" in node(name) else {}


def describe(name: str, image_shape=CIFAR, num_classes=10, **changes) -> Description:
    with torch.device("meta"):
        return walk(model(name, image_shape, num_classes, **changes), image_shape)


def parameters(name: str, image_shape=CIFAR, num_classes=10, **changes) -> int:
    return describe(name, image_shape, num_classes, **changes).parameters


def test_every_model_has_one_file_of_its_name_that_starts_with_a_comment():
    assert sorted(path.stem for path in CONF.glob("*.yaml")) == sorted(MODELS)
    for path in CONF.glob("*.yaml"):
        assert path.read_text().startswith("# ")
        assert node(path.stem)["name"] == path.stem


@pytest.mark.parametrize("name", MODELS)
def test_every_file_holds_exactly_the_settings_of_its_model(name):
    assert check(MODELS, "model", node(name)) == []
    assert set(node(name)) == {"name"} | set(settings(MODELS[name]))


WITH_DROPOUT = [name for name in OWN if "dropout" in node(name)]


@pytest.mark.parametrize("name", ANY_SIZE)
@pytest.mark.parametrize("image_shape", SHAPES)
def test_every_model_gives_one_logit_per_class_for_images_of_any_size(name, image_shape):
    assert describe(name, image_shape, 7).layers[-1].output_shape == (7,)


def test_a_pooling_window_larger_than_its_map_is_named_unless_it_may_hang_over():
    stages = {"widths": [4, 4, 4, 4], "image_shape": (1, 8, 8)}
    with pytest.raises(ConfigError, match=r"stages.3.pool MaxPool2d window 2 is larger than its 1x1 map"):
        describe("plain", **stages)
    assert describe("plain", **stages, pool_ceil_mode=True).layers[-1].output_shape == (10,)


@pytest.mark.parametrize("name", OWN)
def test_every_model_computes_finite_logits_that_do_not_depend_on_the_memory_format(name):
    torch.manual_seed(0)
    net = model(name, (3, 20, 20), 5, **narrow(name)).eval()
    images = torch.randn(2, 3, 20, 20)
    with torch.inference_mode():
        logits = net(images)
        last = net.to(memory_format=torch.channels_last)(images.contiguous(memory_format=torch.channels_last))
    assert logits.shape == (2, 5)
    assert torch.isfinite(logits).all()
    assert torch.allclose(logits, last, atol=1e-4)


@pytest.mark.parametrize("name", OWN)
def test_every_model_trains_a_step_that_changes_every_parameter(name):
    torch.manual_seed(0)
    net = model(name, (1, 20, 20), 3, **narrow(name), **({"dropout": 0.0} if name in WITH_DROPOUT else {}))
    nn.functional.cross_entropy(net(torch.randn(4, 1, 20, 20)), torch.tensor([0, 1, 2, 0])).backward()
    trained = {key: value for key, value in net.named_parameters() if value.requires_grad}
    assert [key for key, value in trained.items() if value.grad is None] == []
    assert all(torch.isfinite(value.grad).all() for value in trained.values())


@pytest.mark.parametrize("name", WITH_DROPOUT)
def test_the_last_layer_is_linear_so_no_dropout_touches_the_logits(name):
    with torch.device("meta"):
        net = model(name, dropout=0.5)
    leaves = [m for m in net.modules() if not any(m.children())]
    assert isinstance(leaves[-1], nn.Linear)
    assert any(isinstance(m, nn.Dropout) for m in leaves)


@pytest.mark.parametrize("name", WITH_DROPOUT)
def test_dropout_is_the_identity_at_eval_and_random_in_training(name):
    torch.manual_seed(0)
    net = model(name, (1, 20, 20), 3, **narrow(name), dropout=0.5)
    images = torch.randn(2, 1, 20, 20)
    with torch.no_grad():
        assert not torch.equal(net(images), net(images))
        assert torch.equal(net.eval()(images), net(images))


@pytest.mark.parametrize("name", [name for name in OWN if "norm" in node(name)])
def test_with_a_norm_no_convolution_has_a_bias_and_without_one_all_have(name):
    for norm in ("batch", "none"):
        with torch.device("meta"):
            net = model(name, norm=norm)
        convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
        assert {m.bias is not None for m in convolutions} == {norm == "none"}
        norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d | nn.GroupNorm)]
        assert bool(norms) == (norm != "none")


def test_a_model_on_the_meta_device_draws_no_random_numbers():
    state = torch.get_rng_state()
    describe("resnet")
    assert torch.equal(torch.get_rng_state(), state)


def test_simple_has_the_parameters_and_macs_of_its_formula():
    description = describe("simple")
    flat = 64 * 8 * 8
    assert description.parameters == (27 * 32 + 32) + (288 * 64 + 64) + (flat * 512 + 512) + (512 * 10 + 10)
    assert description.macs == 27 * 32 * 32**2 + 288 * 64 * 16**2 + flat * 512 + 512 * 10
    assert description.receptive_field == (10, 10)  # 3, pool 4, conv 8, pool 10


def test_deep_has_the_parameters_and_receptive_field_of_its_formula():
    weights = 9 * (3 * 32 + 32 * 64 + 64 * 128 + 128 * 256)
    norms = 2 * (32 + 64 + 128 + 256)
    assert parameters("deep") == weights + norms + (256 * 2 * 2 * 1024 + 1024) + (1024 * 10 + 10)
    assert describe("deep").receptive_field == (46, 46)


@pytest.mark.parametrize(
    ("name", "settings_", "image_shape", "num_classes", "published"),
    [
        ("lenet", {}, (1, 32, 32), 10, 61_706),  # with complete C3, as commonly counted
        ("lenet", {}, (1, 28, 28), 10, 61_706),
        ("lenet", {}, (1, 8, 17), 10, 61_706 + 120 * 16 * 5 * 2),  # 32x41 pixels give maps of 5x7
        ("alexnet", {"stem": "large", "hidden": 4096}, (3, 224, 224), 1000, 61_100_840),  # torchvision
        ("vgg", {"depth": 11, "hidden": 4096, "norm": "none"}, (3, 224, 224), 1000, 132_863_336),  # torchvision
        ("vgg", {"depth": 13, "hidden": 4096, "norm": "none"}, (3, 224, 224), 1000, 133_047_848),
        ("vgg", {"depth": 16, "hidden": 4096, "norm": "none"}, (3, 224, 224), 1000, 138_357_544),
        ("vgg", {"depth": 19, "hidden": 4096, "norm": "none"}, (3, 224, 224), 1000, 143_667_240),
        ("resnet", {"depth": 18}, CIFAR, 10, 11_173_962),
        ("resnet", {"depth": 34}, CIFAR, 10, 21_282_122),
        ("resnet", {"depth": 50}, CIFAR, 10, 23_520_842),
        ("resnet", {"depth": 18, "stem": "large"}, (3, 224, 224), 1000, 11_689_512),  # torchvision
        ("resnet", {"depth": 50, "stem": "large"}, (3, 224, 224), 1000, 25_557_032),
        ("airbench", {}, CIFAR, 10, 1_972_792),  # 1,440 of them frozen
        ("wide_resnet", {"depth": 28, "widen_factor": 10}, CIFAR, 10, 36_479_194),  # 36.5M
    ],
)
def test_parameter_counts_are_the_published_ones(name, settings_, image_shape, num_classes, published):
    assert parameters(name, image_shape, num_classes, **settings_) == published


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (56, 0.85), (110, 1.7)])  # He et al., 2016, table 6
def test_cifar_resnets_have_the_papers_millions_of_parameters(depth, millions):
    assert parameters("resnet", depth=depth) / 1e6 == pytest.approx(millions, abs=0.04 if depth == 110 else 0.012)


@pytest.mark.parametrize(("factor", "millions"), [(1, 0.2), (4, 2.7), (8, 11.0)])  # Zagoruyko & Komodakis, table 4
def test_wide_resnets_of_16_layers_have_the_papers_millions_of_parameters(factor, millions):
    assert parameters("wide_resnet", depth=16, widen_factor=factor) / 1e6 == pytest.approx(millions, abs=0.06)


def test_macs_of_resnet18_and_vgg16_are_the_published_ones():
    assert describe("resnet", (3, 224, 224), 1000, depth=18, stem="large").macs == 1_814_073_344
    vgg = describe("vgg", (3, 224, 224), 1000, depth=16, hidden=4096, norm="none")
    assert vgg.macs == 15_470_264_320
    assert vgg.receptive_field == (212, 212)  # 196 before the last pooling


def test_inception_blocks_end_in_the_papers_480_832_and_1024_channels():
    shapes = {layer.name: layer.output_shape for layer in describe("inception", (3, 224, 224), stem="large").layers}
    assert shapes["stages.stage4.pool"] == (480, 14, 14)
    assert shapes["stages.stage5.pool"] == (832, 7, 7)
    assert shapes["head.pool"] == (1024, 1, 1)


def test_a_wide_resnet_of_impossible_depth_is_refused():
    with pytest.raises(ConfigError, match=r"^model.depth=18: a wide ResNet has 6n \+ 4 layers"):
        describe("wide_resnet", depth=18)


def test_wide_resnet_drops_between_the_convolutions_of_a_block_only():
    names = [name for name, m in model("wide_resnet", dropout=0.3).named_modules() if isinstance(m, nn.Dropout)]
    assert len(names) == 6
    assert all(name.endswith("branch.dropout") for name in names)


@pytest.mark.parametrize("name", ["plain", "resnet"])
def test_residual_false_leaves_out_skips_and_projections_and_nothing_else(name):
    with torch.device("meta"):
        skips, bare = model(name, residual=True), model(name, residual=False)
    assert any(isinstance(m, Residual) for m in skips.modules())
    assert not any(isinstance(m, Residual) for m in bare.modules())
    with_skips, without = dict(skips.state_dict()), dict(bare.state_dict())
    assert {key: value.shape for key, value in with_skips.items() if ".shortcut." not in key} == {
        key: value.shape for key, value in without.items()
    }


def test_deep_residual_is_deep_with_skips_at_every_depth():
    assert settings(MODELS["deep_residual"]) == settings(MODELS["deep"])
    for depth in (1, 2, 3):
        with torch.device("meta"):
            residual, deep = model("deep_residual", depth=depth), model("deep", depth=depth)
        kept = [key for key in residual.state_dict() if ".shortcut." not in key]
        assert kept == list(deep.state_dict())
        blocks = [m for m in residual.modules() if isinstance(m, Residual)]
        assert len(blocks) == 4 * -(-depth // 2)


def test_residual_maps_must_keep_their_size():
    with pytest.raises(ConfigError, match=r"^model.residual=true: the skip needs maps that keep their size"):
        describe("plain", residual=True, padding=0)
    assert describe("plain", residual=True, padding=1) == describe("plain", residual=True)


@pytest.mark.parametrize("name", NETS_OF_THE_ARTICLES)
def test_depth_counts_the_convolutions_of_a_stage(name):
    for depth in (1, 2, 3):
        layers = describe(name, depth=depth, padding="same").layers
        spatial = [x for x in layers if x.kind == "Conv2d" and not x.name.endswith(("pointwise.conv", "shortcut.conv"))]
        assert len(spatial) == depth * len(node(name)["widths"])


def test_separable_is_deep_with_every_convolution_but_the_first_split():
    kinds = [x.name.split(".")[-2] for x in describe("separable").layers if x.kind == "Conv2d"]
    assert kinds == ["0", "depthwise", "pointwise", "depthwise", "pointwise", "depthwise", "pointwise"]
    saved = sum(9 * a * b - (9 * a + a * b) for a, b in [(32, 64), (64, 128), (128, 256)])
    assert parameters("deep") - parameters("separable") == saved - 2 * (32 + 64 + 128)  # norms after depthwise


def test_width_multiplier_scales_the_macs_with_its_square():
    one, two = (describe("plain", width_multiplier=factor) for factor in (1, 2))
    first = 27 * 32 * 32**2  # the images keep their channels
    last = 256 * 10
    assert two.macs - 2 * first - 2 * last == 4 * (one.macs - first - last)


@pytest.mark.parametrize(
    ("changes", "map_side"),
    [
        ({}, 4),
        ({"last_pool": False}, 8),
        ({"last_pool": False, "pool": "stride"}, 8),
        ({"pool": "none"}, 32),
        ({"pool": "stride"}, 4),
        ({"pool": "stride", "residual": True, "depth": 3}, 4),
        ({"pool": "none", "stride": 2}, 4),
        ({"pool": "stride", "stride": 2, "depth": 1, "residual": True}, 1),
        ({"pool_size": 3}, 3),
        ({"pool_size": 3, "pool_stride": 1}, 26),
        ({"padding": 0, "depth": 1}, 2),
        ({"kernel_size": 7}, 4),
    ],
)
def test_stride_padding_and_pooling_give_the_expected_map(changes, map_side):
    shapes = [x.output_shape for x in describe("plain", **changes).layers if len(x.output_shape) == 3]
    assert shapes[-1] == (128, map_side, map_side)


def test_a_kernel_larger_than_its_map_names_the_layer_the_sizes_and_the_cure():
    # 16 pixels: conv 12, pool 6, conv 2, pool 1
    with pytest.raises(ConfigError) as caught:
        describe("plain", (3, 16, 16), padding=0, depth=1, kernel_size=5)
    assert caught.value.findings == (
        "model: stages.2.0.branch.0.conv Conv2d kernel 5 is larger than its 1x1 map for 3x16x16 images; "
        "use model.padding=same, fewer model.widths or larger images",
    )


def test_two_stacked_three_by_three_convolutions_see_what_one_five_by_five_sees():
    common = {"widths": [16], "pool": "none", "head": "gap"}
    stacked = describe("plain", depth=2, kernel_size=3, **common)
    single = describe("plain", depth=1, kernel_size=5, **common)
    assert stacked.receptive_field == single.receptive_field == (5, 5)


def test_pooling_has_no_parameters_and_each_kind_its_layer():
    kinds = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d, "sum": SumPool2d}
    counts = set()
    for pool, kind in kinds.items():
        with torch.device("meta"):
            net = model("plain", pool=pool)
        assert sum(type(m) is kind for m in net.modules()) == 3
        counts.add(sum(p.numel() for p in net.parameters()))
    assert len(counts) == 1


def test_the_average_head_needs_no_hidden_layer():
    assert [x.name for x in describe("deep", head="gap").layers][-3:] == ["head.pool", "head.flatten", "head.logits"]
    assert parameters("deep", head="gap") == parameters("deep", (3, 64, 64), head="gap")


def test_spatial_dropout_zeroes_whole_channels():
    torch.manual_seed(0)
    dropout = model("plain", spatial_dropout=0.5).stages[0].dropout
    per_channel = dropout(torch.ones(4, 32, 5, 5)).flatten(2)
    assert torch.equal(per_channel, per_channel[..., :1].expand(-1, -1, 25))
    assert set(per_channel.unique().tolist()) == {0.0, 2.0}


def test_no_stage_at_all_is_refused():
    with pytest.raises(ConfigError, match=r"^model.widths=\[\]: names no stage"):
        describe("plain", widths=[])


def test_the_first_loss_is_little_above_that_of_guessing():
    torch.manual_seed(0)
    images, labels = torch.randn(32, 3, 32, 32), torch.arange(32) % 10
    for name in ("simple", "deep"):
        loss = nn.functional.cross_entropy(model(name)(images), labels).item()
        assert loss == pytest.approx(math.log(10), abs=0.9), name


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "sigmoid", "tanh"])
@pytest.mark.parametrize("residual", [False, True])
def test_activating_after_max_pooling_changes_no_number(activation, residual):
    ours = model("deep", activation=activation, residual=residual, widths=[8, 16])
    as_written = copy.deepcopy(ours)
    for stage in as_written.stages:
        stage[-3].activation, stage.activation = stage.activation, nn.Identity()  # block, pool, activation
    images = torch.randn(4, *CIFAR)
    outputs = []
    for net in (ours, as_written):
        torch.manual_seed(0)  # dropout
        logits = net(images)
        logits.square().sum().backward()
        outputs.append([logits, *(parameter.grad for parameter in net.parameters())])
    assert all(torch.equal(*pair) for pair in zip(*outputs, strict=True))


@pytest.mark.parametrize(("pool", "activation"), [("max", "gelu"), ("max", "silu"), ("avg", "relu")])
def test_other_activations_and_poolings_keep_their_order(pool, activation):
    stage = model("plain", pool=pool, activation=activation).stages[0]
    assert [name for name, _ in stage.named_children()][-1] == "pool"

"""What the issue of a wrong key or choice tells to type instead; each cure is composed."""

import re
import shlex

import pytest
import yaml

from cnnbench.config import synonyms
from cnnbench.config.compose import compose
from cnnbench.config.run_config import RunConfig, types_of
from cnnbench.config.settings import accepts, cure_of_value, settings
from cnnbench.config.tables import GROUPS, conf_folder, table_of
from cnnbench.errors import ConfigError

CURES = [
    (["model.lr=0.1"], "did you mean optimizer.lr=0.1?"),
    (["optimizer.momentum=0.9"], "optimizer=sgd optimizer.momentum=0.9"),
    (["device=gpu"], "did you mean device=cuda?"),
    (["lr=0.1"], "did you mean optimizer.lr=0.1?"),
    (["depth=3", "model=plain"], "did you mean model.depth=3?"),
    (["dropout=0.5"], "did you mean model.dropout=0.5?"),
    (["threads=2"], "did you mean device.threads=2?"),
    (["root=photos"], "data=image_folder data.root=photos"),
    (["augmentation=mixup"], "'regularization=[mixup]'"),
    (["regularization=[cutout]"], "'augmentation=[cutout]'"),
    (["regularization=[dropout]"], "dropout is a setting, write model.dropout=VALUE"),
    (["model=mobilenet"], "model=torchvision model.architecture=mobilenet_v3_small"),
    (["model=resnet18"], "model=resnet model.depth=18"),
    (["regularization.mixup.alpha=0.2"], "'regularization=[mixup]' regularization.mixup.alpha=0.2"),
    (["regularization=[ema]", "regularization.mixup.alpha=0.2"], "'regularization=[ema,mixup]'"),
    (["data=./photos"], "data=image_folder data.root=./photos"),
    (["data=Fashion-MNIST"], "did you mean data=fashion_mnist?"),
    (["device=bf16"], "device.precision=bf16"),
    (["scheduler=cosine"], "write schedule=cosine"),
    (["learning_rate=0.1"], "did you mean optimizer.lr=0.1?"),
    (["output_dir=mine"], "write hydra.run.dir=mine"),
    (["mixup=0.2"], "mixup is a choice, write 'regularization=[mixup]'"),
    (["seed=0-4"], "-m 'seed=range(0,5)'"),
    (["model=plain", "model.pool=strid"], "did you mean 'stride'?"),
    (["epochs=10epochs"], "write epochs=10"),
    (["model", "deep"], "model deep: is no KEY=VALUE; write model=deep"),
    (["deep"], "deep: is no KEY=VALUE; write model=deep"),
    (["epochs", "=", "5"], "epochs = 5: is no KEY=VALUE; write epochs=5"),
    (["epochs=", "5"], "epochs= 5: is no KEY=VALUE; write epochs=5"),
    (["epochs:=5"], "write epochs=5"),
    (["model=plain", "model.pool/size=3"], "did you mean model.pool_size=3?"),
    (["Model.PoolCeilMode=true"], "did you mean model.pool_ceil_mode=true?"),
    (["model.widhts=[8,8]"], "did you mean 'model.widths=[8,8]'?"),
    (["early_stopping_patience=3"], "'regularization=[early_stopping]' regularization.early_stopping.patience=3"),
    (["trainer.max_epochs=3"], "did you mean epochs=3?"),
    (["solver=adam"], "write optimizer=adam"),
    (["channels_last=true"], "write device.memory_format=channels_last"),
    (["amp=true"], "write device.precision=bf16"),
    (["model.drop=0.5"], "did you mean model.dropout=0.5?"),
    (["+epochs=5"], "is there already; write epochs=5"),
    (["+model.orm=group"], "did you mean model.norm=group?"),
    (["model.widths=32,64"], "write one list as 'model.widths=[32,64]'"),
    (["epochs=[5]"], "write epochs=5"),
    (["data.val_fraction=20%"], "write data.val_fraction=0.2"),
    (["data.val_fraction=0,2"], "write data.val_fraction=0.2"),
    (["model.activation=LeakyReLU"], "did you mean 'leaky_relu'?"),
    (["schedule=CosineAnnealingLR"], "did you mean schedule=cosine?"),
    (["model=EfficientNetB0"], "model=torchvision model.architecture=efficientnet_b0"),
]


@pytest.mark.parametrize(("overrides", "cure"), CURES, ids=[" ".join(overrides) for overrides, _ in CURES])
def test_a_mistake_is_told_with_its_cure(overrides, cure):
    with pytest.raises(ConfigError) as caught:
        compose(overrides)
    (finding,) = caught.value.findings
    assert cure in finding


@pytest.mark.parametrize(
    ("group", "word", "choice"),
    [(group, word, choice) for group, words in synonyms.CHOICES.items() for word, choice in words.items()],
)
def test_another_word_for_a_choice_stands_for_one_that_is_there(group, word, choice):
    assert (conf_folder() / group / f"{choice}.yaml").exists()
    assert not (conf_folder() / group / f"{word}.yaml").exists()


def test_another_word_for_a_key_stands_for_one_that_is_there():
    words = [path.read_text() for path in conf_folder().rglob("*.yaml")]
    choices = {path.stem for path in conf_folder().rglob("*.yaml")}
    for meant in set(synonyms.KEYS.values()) - set(GROUPS) - choices:
        last = meant.rpartition(".")[2]
        assert any(re.search(rf"^\s*{last}:", text, re.MULTILINE) for text in words), meant


def test_the_architectures_named_are_torchvisions():
    from torchvision import models

    assert set(synonyms.ARCHITECTURES.values()) <= set(synonyms.TORCHVISIONS)
    assert set(synonyms.TORCHVISIONS) <= set(models.list_models(module=models))


def test_another_word_for_a_value_stands_for_one_that_is_there():
    kinds = {}
    for group in GROUPS:
        for function in table_of(group).values():
            for key, kind in settings(function).items():
                kinds.setdefault(key, []).append(kind)
    kinds |= {key: [kind] for key, kind in types_of(RunConfig).items()}
    for setting, values in synonyms.VALUES.items():
        for meant in set(values.values()):
            value = yaml.safe_load(meant)
            assert any(accepts(kind, value) for kind in kinds[setting]), (setting, meant)


@pytest.mark.parametrize("override", ["no_ema=true", "without_mixup=true"])
def test_a_word_that_turns_the_meaning_round_gives_no_cure_of_the_contrary(override):
    with pytest.raises(ConfigError) as caught:
        compose([override])
    assert "regularization" not in caught.value.findings[0]


def test_a_choice_that_several_groups_have_is_not_meant_by_a_word_like_it(cnnbench):
    exit_code, _, err = cnnbench("train", "-m", "sweep=nope")
    assert (exit_code, err) == (
        2,
        "error: sweep=nope: no such sweep; choose from joblib, local, ray, slurm, submitit_local\n",
    )


def test_a_choice_mended_in_a_list_keeps_the_others():
    with pytest.raises(ConfigError) as caught:
        compose(["regularization=[ema,MixUp]"])
    assert "'regularization=[ema,mixup]'" in caught.value.findings[0]


def test_a_list_of_one_where_one_is_wanted_is_told_without_brackets(cnnbench):
    assert "write model=deep\n" in cnnbench("train", "model=[deep]")[2]


def test_a_flag_is_cured_beside_the_choices_that_were_made(cnnbench):
    assert "write optimizer.momentum=0.8" in cnnbench("train", "optimizer=sgd", "--momentum=0.8")[2]


def test_a_flag_that_is_a_setting_is_told_so(cnnbench):
    for arguments, cure in (
        (["--epochs", "5"], "--epochs 5: no such flag; epochs is a setting, write epochs=5"),
        (["-e", "5"], "-e 5: no such flag; e is a setting, write epochs=5"),
        (["--lr=0.1"], "--lr 0.1: no such flag; lr is a setting, write optimizer.lr=0.1"),
    ):
        assert cnnbench("train", *arguments) == (2, "", f"error: {cure}\n")


def test_overrides_may_stand_behind_flags(cnnbench):
    exit_code, out, err = cnnbench("train", "--cfg", "job", "epochs=7")
    assert (exit_code, err) == (0, "")
    assert "epochs: 7" in out


def test_a_setting_without_a_verb_and_a_choice_for_one_are_told_so(cnnbench):
    assert "cnnbench train model=deep" in cnnbench("deep")[2]
    assert "cnnbench train model=deep epochs=3" in cnnbench("model=deep", "epochs=3")[2]
    assert "did you mean 'train'?" in cnnbench("trian")[2]


def test_every_verb_tells_the_version(cnnbench):
    assert cnnbench("train", "--version")[1].startswith("cnnbench ")


def test_other_verbs_tell_what_is_meant(cnnbench, train, tmp_path):
    run = train("run")
    assert "is an address; fetch it" in cnnbench("predict", run, "https://example.org/a.png")[2]
    assert "--csv" in cnnbench("compare", run, "--csv", tmp_path / "none" / "a.csv")[2]
    assert "did you mean 'test_accuracy'" in cnnbench("compare", run, "--metric", "accuracy")[2]


@pytest.mark.parametrize(
    ("margin", "cure"), [("0.002", "write 0.2 for 0.2 points"), ("20", "in points, and 10 at most")]
)
def test_a_margin_is_in_points(cnnbench, train, margin, cure):
    exit_code, _, err = cnnbench("compare", train("run"), "--margin", margin)
    assert exit_code == 2
    assert cure in err


def test_words_for_yes_no_and_nothing_are_told_as_yaml_has_them():
    assert cure_of_value("a.b", bool, "yes") == "; write a.b=true"
    assert cure_of_value("a.b", int | None, "None") == "; write a.b=null"
    assert cure_of_value("a.b", float, "50%") == "; write a.b=0.5"
    assert cure_of_value("a.b", float, "fast") == ""


def test_what_is_to_be_pasted_composes():
    for overrides, cure in CURES:
        pasted = re.search(r"(?:write |^)((?:'?[a-z_.]+=\S+ ?)+)$", cure)
        if pasted and "VALUE" not in cure and "hydra" not in cure and "photos" not in cure:
            kept = [text for text in overrides if text.startswith("regularization=[ema]")]
            compose([*kept, *shlex.split(pasted[1])])

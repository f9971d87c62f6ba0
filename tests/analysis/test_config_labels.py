"""The names of groups: the keys in which their configs differ."""

from run_folders import CONFIG

from cnnbench.analysis.config_labels import label_against, label_configs, write_value


def labels(*changes):
    configs = {str(number): CONFIG | change for number, change in enumerate(changes)}
    return list(label_configs(configs).values())


def test_only_keys_that_differ_are_named():
    assert labels({}, {"epochs": 5}, {"epochs": 5, "batch_size": 32}) == [
        "epochs=3 batch_size=64",
        "epochs=5 batch_size=64",
        "epochs=5 batch_size=32",
    ]


def test_what_follows_from_another_choice_is_left_out():
    adam = {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999]}
    assert labels({}, {"optimizer": adam}) == ["optimizer=sgd", "optimizer=adam"]


def test_settings_that_differ_within_a_choice_are_named_there_only():
    fast = CONFIG["optimizer"] | {"lr": 1.0}
    adam = {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999]}
    assert labels({}, {"optimizer": fast}, {"optimizer": adam}) == [
        "optimizer=sgd optimizer.lr=0.1",
        "optimizer=sgd optimizer.lr=1.0",
        "optimizer=adam",
    ]


def test_regularizers_are_named_as_a_list_and_their_settings_where_they_differ():
    mixup, strong, ema = {"mixup": {"alpha": 0.2}}, {"mixup": {"alpha": 1.0}}, {"ema": {"decay": 0.99}}
    assert labels(*({"regularization": value} for value in ({}, mixup, strong, mixup | ema))) == [
        "regularization=[]",
        "regularization=[mixup] regularization.mixup.alpha=0.2",
        "regularization=[mixup] regularization.mixup.alpha=1.0",
        "regularization=[mixup,ema] regularization.mixup.alpha=0.2",
    ]


def test_a_key_that_an_older_config_lacks_is_named():
    older = {key: value for key, value in CONFIG.items() if key != "select"}
    data = {key: value for key, value in CONFIG["data"].items() if key != "fraction"}
    assert list(label_configs({"a": CONFIG, "b": older}).values()) == ["select=best", "select=(absent)"]
    assert labels({}, {"data": data}) == ["data.fraction=1.0", "data.fraction=(absent)"]


def test_one_config_alone_is_called_by_its_model_and_data():
    assert labels({}) == ["simple on digits"]
    assert label_configs({"a": {}}) == {"a": "the only config"}


def test_a_group_without_a_config_keeps_the_name_it_is_given():
    assert label_configs({"a1b2": None, "b": CONFIG}) == {"a1b2": "a1b2", "b": "simple on digits"}


def test_values_are_written_as_on_the_command_line():
    written = [write_value(value) for value in ([32, [1.5]], True, None, "sgd", 1e-3)]
    assert written == ["[32,[1.5]]", "true", "null", "sgd", "0.001"]


def test_configs_of_any_shape_get_labels():
    strange = {"a": {"model": 3, "data": [1], "regularization": {"x": 5}, "b": {"c": {"d": None}}}, "b": CONFIG}
    assert len(set(label_configs(strange).values())) == 2


def test_against_the_baseline_only_what_it_has_not_is_named():
    assert label_against("model=deep epochs=3", "model=simple epochs=3") == "model=deep"
    assert label_against("a=1", "a=1 b=2") == "a=1"

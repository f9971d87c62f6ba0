"""Groups on different data, splits or test images are refused."""

import numpy as np
import pytest
from run_folders import CONFIG, make_run, save_predictions

from cnnbench.analysis.groups import collect
from cnnbench.analysis.same_data import refuse_different_data
from cnnbench.errors import DataError


def check(folder):
    refuse_different_data(collect([folder], "test_accuracy").groups)


def data(**changes):
    return {"data": CONFIG["data"] | changes}


@pytest.mark.parametrize("change", [{"split_seed": 1}, {"val_fraction": 0.2}, {"test_fraction": 0.3}])
def test_another_split_is_refused_with_the_key_and_both_folders(tmp_path, change):
    make_run(tmp_path / "a", config=data(test_fraction=0.2))
    make_run(tmp_path / "b", config=data(**({"test_fraction": 0.2} | change)))
    with pytest.raises(DataError, match=rf"data\.{next(iter(change))}: .*{tmp_path}/a, .*{tmp_path}/b; .*compared"):
        check(tmp_path)


def test_another_data_set_is_refused_in_one_line(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", config={"data": {"name": "mnist", "val_fraction": 0.3}})
    with pytest.raises(DataError) as caught:
        check(tmp_path)
    assert [finding.partition(":")[0] for finding in caught.value.findings] == ["data.name"]


def test_another_data_set_is_refused_where_a_config_is_lost(tmp_path):
    make_run(tmp_path / "a")
    (make_run(tmp_path / "b", config={"data": {"name": "mnist"}}) / "config.yaml").unlink()
    with pytest.raises(DataError, match=r"data\.name"):
        check(tmp_path)


@pytest.mark.parametrize("change", [{"fraction": 0.1}, {"image_size": 16}, {"root": "elsewhere"}, {"workers": 2}])
def test_how_much_is_trained_on_and_how_it_is_read_may_differ(tmp_path, change):
    make_run(tmp_path / "a", config=data(image_size=32, root=None, workers=None))
    make_run(tmp_path / "b", config=data(**({"image_size": 32, "root": None, "workers": None} | change)))
    check(tmp_path)


def test_another_test_set_under_the_same_name_is_refused(tmp_path):
    for name, labels in (("a", [0, 1, 1]), ("b", [1, 0, 1])):
        run = make_run(tmp_path / name, config={"epochs": len(labels) + labels[0]})
        save_predictions(run, np.zeros((3, 2)), np.array(labels))
    with pytest.raises(DataError, match="the test set: 3 labels"):
        check(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"PK\x05\x06 no archive", None])
def test_damaged_predictions_say_nothing_of_the_test_set(tmp_path, damage):
    for name in ("a", "b"):
        run = make_run(tmp_path / name, config={"epochs": ord(name)})
        save_predictions(run, np.zeros((300, 2)), np.arange(300) % 2)
    file = tmp_path / "b" / "predictions.npz"
    whole = file.read_bytes()
    place = whole.index(b"labels.npy") + 40
    file.write_bytes(damage if damage is not None else whole[:place] + bytes(20) + whole[place + 20 :])
    check(tmp_path)


IMAGES = {"data_fingerprints": {"train": "a" * 64, "val": "b" * 64, "test": "c" * 64}, "image_shape": [1, 8, 8]}


def images(**parts):
    return IMAGES | {"data_fingerprints": IMAGES["data_fingerprints"] | parts}


@pytest.mark.parametrize("part", ["val", "test"])
def test_other_images_under_equal_settings_and_labels_are_refused(tmp_path, part):
    make_run(tmp_path / "a", **IMAGES)
    make_run(tmp_path / "b", config={"epochs": 9}, **images(**{part: "d" * 64}))
    with pytest.raises(DataError, match=f"{part} images: .* in {tmp_path}/a, dddddddd in {tmp_path}/b; .*compared"):
        check(tmp_path)


def test_the_same_images_under_other_names_are_compared(tmp_path):
    make_run(tmp_path / "a", **IMAGES)
    make_run(tmp_path / "b", config={"data": {"name": "image_folder", "val_fraction": 0.3}}, **IMAGES)
    check(tmp_path)


def test_images_of_another_size_are_judged_by_their_settings(tmp_path):
    make_run(tmp_path / "a", config=data(image_size=8), **IMAGES)
    make_run(tmp_path / "b", config=data(image_size=16), **images(test="d" * 64) | {"image_shape": [1, 16, 16]})
    check(tmp_path)


def test_runs_of_one_config_on_other_training_images_do_not_pool(tmp_path):
    for seed in range(4):
        make_run(tmp_path / f"{seed}", seed=seed, **(IMAGES if seed < 2 else images(train="e" * 64)))
    groups = collect([tmp_path], "test_accuracy").groups
    assert [group.seeds for group in groups] == [(0, 1), (2, 3)]
    assert groups[1].label.endswith(" images=eeeeeeee")
    assert groups[0].id != groups[1].id
    check(tmp_path)


def test_runs_of_one_config_on_other_test_images_are_refused(tmp_path):
    for seed in range(4):
        make_run(tmp_path / f"{seed}", seed=seed, **(IMAGES if seed < 2 else images(test="e" * 64)))
    with pytest.raises(DataError, match="test images: cccccccc"):
        check(tmp_path)


def make_groups(folder, changes=(), *, seeds=((0, 1, 2), (0, 1, 2)), split_seeds=(None, None)):
    """Two groups, each with a split for each seed where its `split_seed` is None; `changes` by seed of the second."""
    for name, own, split_seed in zip("ab", seeds, split_seeds, strict=True):
        for seed in own:
            drawn = str(seed if split_seed is None else split_seed)
            parts = {"train": drawn * 64, "val": drawn * 64, "whole": "f" * 64}
            parts |= dict(changes).get(seed, {}) if name == "b" else {}
            config = data(split_seed=split_seed) | {"epochs": 3 if name == "a" else 9}
            make_run(folder / f"{name}{seed}", seed=seed, config=config, **images(**parts))


def test_groups_that_have_the_split_of_each_seed_are_compared(tmp_path):
    make_groups(tmp_path, seeds=((0, 1, 2), (1, 2, 3)))
    assert [group.seeds for group in collect([tmp_path], "test_accuracy").groups] == [(0, 1, 2), (1, 2, 3)]
    check(tmp_path)


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_seed_with_other_images_in_one_of_the_groups_is_refused_with_both_runs(tmp_path, part):
    make_groups(
        tmp_path, {1: {part: "e" * 64}, 2: {part: "e" * 64}} | ({0: {part: "e" * 64}} if part == "test" else {})
    )
    seed, known = (1, "11111111") if part == "val" else (0, "cccccccc")
    with pytest.raises(DataError) as caught:
        check(tmp_path)
    (line,) = caught.value.findings
    start = f"{part} images of seed {seed}: {known} in {tmp_path}/a{seed}, eeeeeeee in {tmp_path}/b{seed}; "
    assert line.startswith(start)


def test_splits_of_each_seed_may_differ_in_how_much_is_trained_on(tmp_path):
    make_groups(tmp_path, {seed: {"train": "e" * 64, "whole": None} for seed in range(3)})
    check(tmp_path)


@pytest.mark.parametrize("whole", ["f" * 64, None])
def test_groups_without_a_common_seed_are_compared_where_no_image_is_known_to_be_another(tmp_path, whole):
    make_groups(tmp_path, {seed: {"whole": whole} for seed in (5, 6)}, seeds=((0, 1), (5, 6)))
    check(tmp_path)


def test_groups_without_a_common_seed_that_split_other_images_are_refused(tmp_path):
    make_groups(tmp_path, {seed: {"whole": "e" * 64} for seed in (5, 6)}, seeds=((0, 1), (5, 6)))
    with pytest.raises(DataError, match=f"images that are split: ffffffff in {tmp_path}/a0, eeeeeeee in .*/b5; "):
        check(tmp_path)


def test_a_split_for_each_seed_is_not_compared_with_one_for_all(tmp_path):
    make_groups(tmp_path, split_seeds=(None, 0))
    match = f"val images, which data.split_seed draws: 00000000 in {tmp_path}/b0, 11111111 in {tmp_path}/a1; "
    with pytest.raises(DataError, match=match):
        check(tmp_path)


def test_a_split_drawn_by_a_seed_is_that_of_the_same_split_seed(tmp_path):
    make_groups(tmp_path, seeds=((2,), (0, 1, 2)), split_seeds=(None, 2))
    check(tmp_path)


def test_a_split_for_each_seed_of_images_of_another_size_is_judged_by_its_settings(tmp_path):
    for name, size in (("a", 8), ("b", 16)):
        for seed in range(2):
            config = data(split_seed=None, image_size=size)
            parts = images(val=f"{seed}" * 64) | {"image_shape": [1, size, size]}
            make_run(tmp_path / f"{name}{seed}", seed=seed, config=config, **parts)
    check(tmp_path)

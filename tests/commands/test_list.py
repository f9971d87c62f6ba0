import json
from pathlib import Path

import pytest

from cnnbench.commands import list as listing
from cnnbench.config.tables import GROUPS, conf_folder
from cnnbench.errors import ConfigError

CONF = Path(__file__).parents[2] / "conf"
YAMLS = sorted(CONF.glob("*/*.yaml"))


def printed(capsys, *arguments):
    listing.main(arguments)
    return capsys.readouterr().out


def test_all_groups_and_choices_are_the_folders_and_files(capsys):
    groups = json.loads(printed(capsys, "--json"))
    assert sorted((group, choice) for group in groups for choice in groups[group]) == [
        (path.parent.name, path.stem) for path in YAMLS
    ]
    assert set(GROUPS) <= set(groups)


def test_one_group_as_json_maps_each_choice_to_its_line(capsys):
    choices = json.loads(printed(capsys, "schedule", "--json"))
    assert choices["constant"] == (CONF / "schedule" / "constant.yaml").read_text().splitlines()[0].lstrip("# ")


def test_one_group_shows_each_choice_on_a_line_of_its_own(capsys):
    lines = printed(capsys, "loss").splitlines()
    assert [line.split()[0] for line in lines] == ["loss", "cross_entropy", "distillation", "smooth_l1"]


def test_without_a_group_every_group_is_shown(capsys):
    first_words = [line.split()[0] for line in printed(capsys).splitlines() if line[:1].isalpha()]
    assert first_words == ["group", *sorted({path.parent.name for path in YAMLS})]


def test_an_unknown_group_is_answered_with_the_closest():
    with pytest.raises(
        ConfigError, match=r"modle: no such group; did you mean 'model'\? Choose from ablation, augmentation, "
    ):
        listing.main(["modle"])


def test_a_wrong_option_is_a_config_error_in_one_line():
    with pytest.raises(ConfigError, match=r"unrecognized arguments: --jsn; see `cnnbench list --help`"):
        listing.main(["--jsn"])


def test_hydras_directive_is_not_taken_for_the_description(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("# @package _global_\n#  What it is \nname: a\n# later\n")
    assert listing.first_comment(file) == "What it is"
    file.write_text("name: a\n")
    assert listing.first_comment(file) == ""


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_choice_says_in_one_line_what_it_is(path):
    assert 3 <= len(listing.first_comment(path)) <= 118
    first_lines = path.read_text(encoding="utf-8").splitlines()[:2]
    assert listing.first_comment(path) in [line.lstrip("# ").strip() for line in first_lines]


def test_the_groups_are_found_in_the_source_tree():
    assert conf_folder() == CONF

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from cnnbench.config.compose import compose
from cnnbench.config.refusal import PLUGINS, not_installed
from cnnbench.errors import ConfigError


def findings(overrides, config_dir=None):
    with pytest.raises(ConfigError) as caught:
        compose(overrides, config_dir)
    return caught.value.findings


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return str(folder)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hydra.output_subdir=/x", "refused, of Hydra's own keys only these can be given: hydra.run.dir, "),
        ("hydra.job_logging.root.level=INFO", "refused, of Hydra's own keys"),
        ("hydra.searchpath=[pkg://this]", "refused, of Hydra's own keys"),
        ("hydra.mode=MULTIRUN", "refused, of Hydra's own keys"),
        ("hydra.job.env_set.A=b", "refused, of Hydra's own keys"),
        ("hydra={run:{dir:x}}", "refused, of Hydra's own keys"),
        ("hydra/job_logging=stdout", "refused, of Hydra's own keys"),
        ("+hydra.callbacks.x.y=1", "refused, Hydra's own keys are given as KEY=VALUE"),
        ("++hydra.run.dir=x", "refused, Hydra's own keys are given as KEY=VALUE"),
        ("~hydra.launcher", "refused, Hydra's own keys are given as KEY=VALUE"),
        ("hydra.run.dir=", "should be the path of a folder"),
        ("hydra.run.dir=null", "should be the path of a folder"),
        ("hydra.sweep.subdir=../x", "should be the name of a folder in hydra.sweep.dir"),
        ("hydra.sweep.subdir=/x", "should be the name of a folder in hydra.sweep.dir"),
        ("hydra.sweep.subdir=${data.root}", "should be the name of a folder in hydra.sweep.dir"),
        ("hydra.sweep.subdir=${now:../..}", "should be the name of a folder in hydra.sweep.dir"),
        ("hydra/launcher=joblb", "no such launcher; did you mean 'joblib'?"),
        ("hydra/launcher=rq", "no such launcher"),
        ("hydra/sweeper=nope", "no such sweeper"),
        ("hydra.launcher._target_=os.system", "unknown key of launcher basic"),
    ],
)  # fmt: skip
def test_of_hydras_own_keys_only_listed_ones_can_be_given(override, message):
    found = findings([override])
    assert [line.startswith(f"{override}: {message}") for line in found] == [True], found


@pytest.mark.parametrize("parameter", ["setup=[touch x]", "pre_dispatch=2", "python=/x", "additional_parameters={a:1}"])
def test_of_a_launchers_keys_only_plain_ones_can_be_given(parameter):
    found = findings(["hydra/launcher=submitit_slurm", f"hydra.launcher.{parameter}"])
    assert found[0].startswith(f"hydra.launcher.{parameter}: unknown key of launcher submitit_slurm")


@pytest.mark.parametrize("launcher", sorted({*PLUGINS["launcher"]} - {"basic"}))
def test_a_launcher_that_is_not_installed_is_named_with_what_pip_installs(launcher):
    chosen = OverridesParser.create().parse_overrides([f"hydra/launcher={launcher}", "epochs=1"])
    (line,) = not_installed(chosen, lambda path: False)
    package = "ray" if launcher == "ray" else f"hydra-{launcher.split('_')[0]}"
    assert line.startswith(f"hydra/launcher={launcher}: not installed; pip install {package}")
    assert not_installed(chosen, [f"hydra/launcher/{launcher}"].__contains__) == []


def test_a_text_for_a_launcher_is_one_line():
    found = findings(["hydra/launcher=submitit_slurm", "hydra.launcher.comment='a\nrm'"])
    assert any("should be a number, a text" in line for line in found)


@pytest.mark.parametrize(
    "override",
    ["hydra.run.dir=a/b", "hydra.run.dir=${now:%H}", "hydra.sweep.dir='x y'", "hydra.sweep.subdir=a+b-seed0",
     'hydra.sweep.subdir="${hydra:job.num}-${slug:${model.name}}"', "hydra/launcher=basic", "hydra/sweeper=basic"],
)  # fmt: skip
def test_what_is_listed_is_taken(override):
    assert compose([override]).model["name"] == "simple"


@pytest.mark.parametrize(
    "files",
    [
        {"experiment/x.yaml": "# @package _global_\nhydra: {callbacks: {a: {_target_: os.getcwd}}}\n"},
        {"experiment/x.yaml": "# @package _global_\nhydra: {job_logging: {handlers: {f: {filename: /x}}}}\n"},
        {"experiment/x.yaml": "# @package _global_\nhydra: {run: {dir: /x}}\n"},
        {"experiment/x.yaml": "# @package _global_\nhydra: {output_subdir: /x}\n"},
        {"experiment/x.yaml": "# @package hydra.callbacks.a\n_target_: os.getcwd\n"},
        {"experiment/x.yaml": "# @package _global_\ndefaults: [{override /hydra/callbacks: a}]\n",
         "hydra/callbacks/a.yaml": "a: {_target_: os.getcwd}\n"},
        {"experiment/x.yaml": "# @package _global_\ndefaults: [{/model@hydra.callbacks.a: simple}]\n"},
        {"experiment/x.yaml": "# @package _global_\ndefaults: [{override /hydra/launcher: mine}]\n",
         "hydra/launcher/mine.yaml": "_target_: os.getcwd\n"},
        {"experiment/x.yaml": "# @package _global_\n", "hydra/launcher/basic.yaml": "_target_: os.getcwd\n"},
        {"experiment/x.yaml": "# @package _global_\nsweep: {retries: 3}\n"},
        {"experiment/x.yaml": "# @package _global_\ndefaults: [{override /search: tpe}]\n"},
    ],
)  # fmt: skip
def test_a_file_says_nothing_to_hydra_nor_of_how_a_sweep_is_run(tmp_path, files):
    found = findings(["experiment=x"], write(tmp_path, files))
    commanded = ("hydra.", "sweep.", "search.", str(tmp_path / "hydra"))
    assert [line for line in found if not line.startswith(commanded)] == []
    assert "refused, only the command line can change this" in found[0]


@pytest.mark.parametrize(
    "text",
    ["model: {_target_: os.getcwd}", "model: {a: {b: [{_partial_: true}]}}", "x: {_recursive_: false}",
     "_target_: os.getcwd", "regularization: {ema: {_target_: os.getcwd}}"],
)  # fmt: skip
def test_code_is_named_at_any_depth(tmp_path, text):
    found = findings(["experiment=x"], write(tmp_path, {"experiment/x.yaml": f"# @package _global_\n{text}\n"}))
    assert len(found) == 1
    assert found[0].endswith("_: refused, a config must not run code; leave it out")


@pytest.mark.parametrize(
    "value", ["${oc.env:HOME}", "a${oc.env:HOME}", "\"${oc.decode:'${oc.env:HOME}'}\"", "${hydra:job}", "${now:%H}",
              "\"${oc.${model.name}:HOME}\"", "'${oc.env:HOME}'"]
)  # fmt: skip
def test_a_value_reads_no_environment(value):
    assert "refused, a value can only refer to another key" in findings(["data=mnist", f"data.root={value}"])[0]


def test_a_value_may_refer_to_another_key():
    assert compose(["batch_size=${epochs}"]).batch_size == 30


def test_nothing_of_the_environment_gets_into_a_config_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "swordfish")
    folder = write(tmp_path, {"data/mine.yaml": "name: mnist\nroot: ${oc.env:SECRET}\n"})
    assert not any("swordfish" in line for line in findings(["data=mine"], folder))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!!python/object/apply:os.getcwd []", "cannot be read as YAML (could not determine a constructor"),
        ("name: [", "cannot be read as YAML"),
        ("name: *x", "cannot be read as YAML (has an alias"),
        ("a: &x [1]\nb: *x", "cannot be read as YAML (has an alias, *x"),
        ("[" * 40 + "]" * 40, "cannot be read as YAML (nested deeper than 32 levels"),
        ("# " + "x" * 1_000_001, "cannot be read as YAML (larger than 1,000,000 bytes"),
        ("5", "cannot be read as a config"),
        ("defaults: 5", "cannot be read as a config"),
        ("name: a\nname: b", "cannot be read as a config"),
        ("name: \0", "cannot be read as YAML"),
    ],
)
def test_a_file_that_is_no_plain_yaml_is_named(tmp_path, text, message):
    found = findings(["model=x"], write(tmp_path, {"model/x.yaml": text}))
    assert found[0].startswith(f"{tmp_path}/model/x.yaml: {message}")
    assert len(found) == 1


def test_no_flag_of_hydras_is_abbreviated_and_none_unpickles(cnnbench, tmp_path):
    canary = tmp_path / "canary"
    (tmp_path / "run.pickle").write_bytes(b"cos\nsystem\n(S'touch " + str(canary).encode() + b"'\ntR.")
    for flag in ("--exp", "--experimental-rerun", "--experimental", "--e"):
        exit_code, _, err = cnnbench("train", flag, "run.pickle")
        assert (exit_code, err.count("\n")) == (2, 1), flag
    assert not canary.exists()


@pytest.mark.parametrize("look", [["--help"], ["--hydra-help"], ["--cfg", "hydra"], ["--info", "config"], ["-m"], []])
def test_every_way_to_compose_refuses_a_handler_of_logs_in_a_file(cnnbench, tmp_path, look):
    handler = "{class: logging.FileHandler, filename: written}"
    text = f"# @package _global_\nhydra: {{hydra_logging: {{handlers: {{f: {handler}}}}}}}\n"
    folder = write(tmp_path / "own", {"experiment/x.yaml": text})
    chosen = "+experiment=x" if "--hydra-help" in look else "experiment=x"
    exit_code, out, _ = cnnbench("train", *look, "--config-dir", folder, chosen)
    assert exit_code == 2, out
    assert not (tmp_path / "written").exists()


def test_completing_a_line_imports_nothing_that_the_line_names(cnnbench, monkeypatch, tmp_path):
    (tmp_path / "canary_package.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    line = "cnnbench train hydra.searchpath=[pkg://canary_package] model="
    assert cnnbench("-sc", "query", line)[0] == 0
    assert cnnbench("-sc", "query", line.replace("model=", "model."))[0] == 0
    assert not (tmp_path / "canary").exists()


def test_a_sweeps_folder_may_have_a_quote_in_its_name(cnnbench, tmp_path):
    from tiny import TINY

    exit_code, _, err = cnnbench("train", "-m", *TINY, "epochs=1", 'hydra.sweep.dir="it\'s"')
    assert (exit_code, err) == (0, "")
    assert len(list((tmp_path / "it's").glob("*/summary.json"))) == 1


def test_no_launchers_key_is_one_that_hydra_calls():
    assert not [key for plugins in PLUGINS.values() for keys in plugins.values() for key in keys if key.startswith("_")]


def test_a_file_gives_no_choice_of_a_list_another_name(tmp_path):
    text = "ema: {name: swa, start: 0.5}\n"
    found = findings(["regularization=[x]"], write(tmp_path, {"regularization/x.yaml": text}))
    assert found == ("regularization.ema.name: ema is its name; choose another with 'regularization=[NAME]'",)

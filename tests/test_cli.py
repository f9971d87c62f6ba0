import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from processes import start
from tiny import TINY, summary, without_waits

from cnnbench import __version__
from cnnbench.cli import VERBS

HEAVY = "[m for m in ('torch', 'torchvision', 'sklearn') if m in sys.modules]"


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "train"])
def test_every_verb_has_help(cnnbench, capsys, verb):
    with pytest.raises(SystemExit) as left:
        cnnbench(verb, "--help")
    assert left.value.code == 0
    assert f"usage: cnnbench {verb}" in capsys.readouterr().out


def test_help_shows_every_verb_and_no_arguments_mean_help(cnnbench):
    exit_code, out, _ = cnnbench("--help")
    assert exit_code == 0
    assert all(f"\n{verb} " in out for verb in VERBS)
    assert cnnbench()[1] == out


def test_a_comment_that_was_pasted_along_is_no_argument(cnnbench):
    assert cnnbench("list", "model", "#", "what", "each", "one", "is") == cnnbench("list", "model")
    assert cnnbench("--version", "#")[1] == f"cnnbench {__version__}\n"
    assert cnnbench("list", "mod#el")[2].startswith("error: mod#el: no such group")


def test_version(cnnbench):
    assert cnnbench("--version") == (0, f"cnnbench {__version__}\n", "")


def test_an_unknown_verb_is_one_line_with_a_suggestion(cnnbench):
    exit_code, out, err = cnnbench("trian")
    assert (exit_code, out) == (2, "")
    assert err.startswith("error: trian: no such verb; did you mean 'train'?")
    assert err.count("\n") == 1


def test_a_bug_gives_one_line_and_a_log_with_the_traceback(cnnbench, monkeypatch):
    monkeypatch.setitem(VERBS, "nowhere", "a verb without a module")
    exit_code, _, err = cnnbench("nowhere")
    assert exit_code == 1
    assert err.startswith("error: ModuleNotFoundError: ")
    log = err.split("details in ")[1].strip()
    with open(log) as file:
        assert "Traceback" in file.read()
    os.unlink(log)


def test_debug_raises_the_error_itself(cnnbench):
    with pytest.raises(Exception, match="no such verb"):
        cnnbench("trian", "--debug")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["train", "--cfg", "job"], ["-sc", "query", "cnnbench train model="]]
)
def test_what_only_looks_imports_no_torch(tmp_path, arguments):
    code = f"import sys; from cnnbench.cli import run\ntry: run({arguments})\nfinally: print({HEAVY}, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr == "[]\n"
    assert done.stdout


def test_piped_output_has_no_escape_codes_and_ends_with_the_run_folder_even_in_an_ascii_locale(tmp_path):
    folder = tmp_path / "größe 1"
    folder.mkdir()
    process = start("train", *TINY, "epochs=1", cwd=folder, LC_ALL="C.UTF-8", COLUMNS="40")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, without_waits(err)) == (0, "")
    assert "\x1b" not in out
    run = out.splitlines()[-1].removeprefix("run: ")
    assert summary(folder / run)["status"] == "finished"
    ascii_process = start("list", "model", cwd=folder, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert ascii_process.communicate(timeout=60)[1] == ""
    assert ascii_process.returncode == 0


def test_a_run_goes_on_when_the_reader_of_its_output_has_left(tmp_path):
    process = start("train", *TINY, f"hydra.run.dir='{tmp_path / 'run'}'", cwd=tmp_path)
    process.stdout.close()
    assert process.wait(60) == 0
    assert without_waits(process.stderr.read()) == ""
    assert summary(tmp_path / "run")["status"] == "finished"


def test_a_killed_run_resumes_to_the_same_weights_and_is_held_by_one_process(train, cnnbench, tmp_path):
    settings = ["epochs=10", "data.train_images=1000"]
    straight = train("straight", *settings)
    path = tmp_path / "killed"
    process = start("train", *TINY, *settings, f"hydra.run.dir='{path}'", cwd=tmp_path)
    while not (path / "checkpoints" / "manifest.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    exit_code, _, err = cnnbench("resume", path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert exit_code == 75
    assert err == f"error: {path}: another process is working in this run folder; wait or choose another\n"
    assert summary(path)["status"] == "running"
    assert cnnbench("resume", path)[0] == 0
    assert summary(path)["weights_sha256"] == summary(straight)["weights_sha256"]


def test_two_runs_of_one_second_get_two_folders(cnnbench, tmp_path):
    runs = [cnnbench("train", *TINY, "epochs=1")[1].splitlines()[-1].removeprefix("run: ") for _ in range(2)]
    assert all(
        re.fullmatch(r".*/outputs/\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d-simple-synthetic-[0-9a-f]{4}", run) for run in runs
    )
    assert runs[0] != runs[1]


@pytest.mark.parametrize("arguments", [["list", "--json"], ["list", "model", "--json"]])
def test_json_is_one_document(cnnbench, arguments):
    exit_code, out, err = cnnbench(*arguments)
    assert (exit_code, err) == (0, "")
    assert json.loads(out)

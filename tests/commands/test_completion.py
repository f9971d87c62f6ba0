import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from terminal import Terminal

from cnnbench.cli import VERBS
from cnnbench.commands.completion import SHELLS, split

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("cnnbench tr", {"train"}),
        ("cnnbench ", {*VERBS, "--help", "--version"}),
        ("cnnbench", set()),
        ("cnnbench trian mo", set()),
        ("/home/me/.venv/bin/cnnbench tr", {"train"}),
        ("cnnbench train model=de", {"model=deep", "model=deep_residual"}),
        ("cnnbench train -m model=simple,de", {"model=simple,deep", "model=simple,deep_residual"}),
        ("cnnbench train 'augmentation=[flip,cu", {"augmentation=[flip,cutout]", "augmentation=[flip,cutout,"}),
        ("cnnbench train augmentation=\\[flip,cu", {"augmentation=[flip,cutout]", "augmentation=[flip,cutout,"}),
        ("cnnbench train optimizer=adam sched", {"schedule=", "schedule."}),
        ("cnnbench bench model=de", {"model=deep", "model=deep_residual"}),
        ("cnnbench train optimizer.l", {"optimizer.lr="}),
        ("cnnbench train optimizer=sgd optimizer.mom", {"optimizer.momentum="}),
        ("cnnbench train -m optimizer=sgd,adam optimizer.eps", {"optimizer.eps="}),
        ("cnnbench train regularization=[ema] regularization.", {"regularization.ema."}),
        ("cnnbench train epochs=", {"epochs=30"}),
        ("cnnbench train device=cpu device.compile=", {"device.compile=true", "device.compile=false"}),
        ("cnnbench train model=dep optimizer.l", {"optimizer.lr="}),
        ("cnnbench train hydra.sw", {"hydra.sweep.dir="}),
        ("cnnbench train abl", set()),
        ("cnnbench ablate abl", {"ablation="}),
        ("cnnbench ablate ablation=", {"ablation=articles", "ablation=fast"}),
        ("cnnbench ablate see", {"seed=", "seeds="}),
        ("cnnbench train --c", {"--cfg", "--config-dir"}),
        ("cnnbench train --cfg ", {"job", "hydra", "all"}),
        ("cnnbench train --config-dir ", {":files"}),
        ("cnnbench train data=image_folder data.root=ph", {":files data.root="}),
        ("cnnbench evaluate ", {":files"}),
        ("cnnbench evaluate RUN data=fash", {"data=fashion_mnist"}),
        ("cnnbench evaluate RUN --split ", {"test", "val"}),
        ("cnnbench evaluate --split test ", {":files"}),
        ("cnnbench predict RUN ", {":files"}),
        ("cnnbench predict RUN a.png ", {":files"}),
        ("cnnbench export RUN --format ", {"onnx", "torch_export", "safetensors"}),
        ("cnnbench compare A B --j", {"--json"}),
        ("cnnbench compare A --csv ", {":files"}),
        ("cnnbench compare A --margin ", set()),
        ("cnnbench runs ", {":files"}),
        ("cnnbench runs A --arch", {"--archive"}),
        ("cnnbench runs A --archive ", {":files"}),
        ("cnnbench runs A --where ", set()),
        ("cnnbench resume RUN ", {"epochs="}),
        ("cnnbench list mo", {"model"}),
        ("cnnbench data fash", {"fashion_mnist"}),
        ("cnnbench data fashion_mnist data.ro", {"data.root="}),
    ],
)
def test_what_can_follow_is_offered(cnnbench, line, offered):
    exit_code, out, err = cnnbench("-sc", "query", line)
    assert (exit_code, err) == (0, "")
    assert set(out.splitlines()) == offered


def test_a_line_is_taken_apart_as_the_shell_will_do_it_even_in_the_midst_of_a_quote():
    assert split("cnnbench train ") == ["cnnbench", "train", ""]
    assert split("a 'b c") == ["a", "b c"]
    assert split('a "b c" d\\ e') == ["a", "b c", "d e"]
    assert split("") == [""]


def test_every_choice_and_key_of_the_users_own_folder_is_offered(cnnbench, tmp_path):
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "mine.yaml").write_text("name: lenet\nwings: 2\n")
    assert cnnbench("-sc", "query", "cnnbench train --config-dir own model=mi")[1] == "model=mine\n"
    assert cnnbench("-sc", "query", "cnnbench train --config-dir own model=mine model.w")[1] == "model.wings=\n"
    assert cnnbench("-sc", "query", "cnnbench train --config-dir nowhere model.w")[0] == 0


def test_an_unknown_shell_is_one_line(cnnbench):
    exit_code, _, err = cnnbench("-sc", "install=tcsh")
    assert exit_code == 2
    assert err == "error: -sc install=tcsh: no such shell; choose from bash, zsh, fish\n"


START = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"], "fish": ["--no-config", "-i"]}
TYPED = [
    ("cnnbench tr\t\n", ["train"]),
    ("cnnbench train los\t=cross\t\n", ["train", "loss=cross_entropy"]),
    ("cnnbench train model=air\t\n", ["train", "model=airbench"]),
    ("cnnbench train optimizer.weig\t0.1\n", ["train", "optimizer.weight_decay=0.1"]),
    ("cnnbench train --config\towner\n", ["train", "--config-dir", "owner"]),
    ("cnnbench train 'augmentation=[flip,cut\t]'\n", ["train", "augmentation=[flip,cutout]"]),
    ("cnnbench resume my\t\n", ["resume", "my run"]),
    ("cnnbench train data.root=pho\t\n", ["train", "data.root=photos"]),
    ("cnnbench predict 'my run' photos/b\t\n", ["predict", "my run", "photos/b.png"]),
    ("cnnbench list augm\t\n", ["list", "augmentation"]),
    ("~/bin/cnnbench list los\t\n", ["list", "loss"]),
    ("cnnbench train -m model=simple,deep_\t\n", ["train", "-m", "model=simple,deep_residual"]),
    ("cnnbench train augmentation=[flip,cut\t]\n", ["train", "augmentation=[flip,cutout]"]),
]
"""What is typed, and what cnnbench is then given. A tab that does nothing would send the word as it stands."""


@pytest.fixture
def program(tmp_path):
    """A folder of programs with a `cnnbench` that completes, and else writes down what it is given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = f"""#!{sys.executable}
import json, sys
sys.path.insert(0, {str(ROOT)!r})
if sys.argv[1] == "-sc":
    from cnnbench.cli import main
    main()
with open({str(tmp_path / "given")!r}, "w") as file:
    json.dump(sys.argv[1:], file)
print("noted", flush=True)
"""
    (folder / "cnnbench").write_text(script)
    (folder / "cnnbench").chmod(0o755)
    return folder


@pytest.fixture
def typing(tmp_path, program):
    """Starts a shell in a terminal, with the completion of cnnbench, in a folder with a few files."""
    place = tmp_path / "place"
    for name in ("my run", "photos", "other"):
        (place / name).mkdir(parents=True)
    (place / "photos" / "b.png").touch()
    terminals = []

    def start(shell):
        if not shutil.which(shell):
            pytest.skip(f"no {shell} here")
        variables = {**os.environ, "PATH": f"{program}:{os.environ['PATH']}", "HOME": str(tmp_path), "TERM": "xterm"}
        terminals.append(Terminal([shell, *START[shell]], place, variables))
        terminals[-1].type(f"{SHELLS[shell]}; echo rea''dy\n")
        terminals[-1].read_until("ready")
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


@pytest.mark.parametrize("shell", SHELLS)
def test_the_real_shell_completes_what_is_typed(typing, tmp_path, shell):
    terminal = typing(shell)
    unquoted = [typed for typed, _ in TYPED if " augmentation=[" in typed] if shell == "zsh" else []  # there a pattern
    for typed, expected in ((typed, expected) for typed, expected in TYPED if typed not in unquoted):
        terminal.type(typed)
        terminal.read_until("noted")
        given = json.loads((tmp_path / "given").read_text())
        assert [word.removesuffix("/") for word in given] == expected  # zsh takes the slash of a folder away again


@pytest.mark.parametrize("shell", SHELLS)
def test_the_real_shell_lists_what_there_is_to_choose(typing, shell):
    for line, first, last in (("model=", "inception", "wide_resnet"), ("optimizer.", "betas", "weight_decay")):
        terminal = typing(shell)
        terminal.type(f"cnnbench train {line}\t\t")
        assert first in terminal.read_until(last)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_scripts_leave_other_programs_alone(shell):
    """Nothing but cnnbench gets a completion, and bash keeps its word breaks."""
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    script = (ROOT / "cnnbench" / "commands" / f"completion.{shell}").read_text()
    assert "python" not in script
    if shell == "bash":
        code = f'before=$COMP_WORDBREAKS\n{script}\n[[ $before == "$COMP_WORDBREAKS" ]] && complete -p'
        done = subprocess.run(["bash"], input=code, capture_output=True, text=True, check=True)
        assert [line.split()[-1] for line in done.stdout.splitlines()] == ["cnnbench"]

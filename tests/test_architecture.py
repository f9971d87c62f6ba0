"""What holds for the source as a whole, read from its syntax trees: import directions, forbidden calls, docstrings."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from run_folders import make_run

from cnnbench.cli import VERBS
from cnnbench.config.compose import compose
from cnnbench.config.settings import settings
from cnnbench.config.sweep_settings import NOTHING
from cnnbench.config.tables import GROUPS, LIST_GROUPS, OF_COMPRESSION, table_of
from cnnbench.data import split

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
TREES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(path.read_text("utf-8"))
    for path in sorted((ROOT / "cnnbench").rglob("*.py"))
}

# A room is a package or a module. It imports from the floors below its own, and within itself without circles.
FLOORS = [
    "cli",
    "commands",
    "sweeps api",
    "compression",
    "experiment",
    "lengthen speed",
    "trained",
    "given assemble teacher recorder training_state optimizer_state saving results loop inference screen",
    "analysis",
    "data",
    "techniques trackers",
    "models",
    "device",
    "runs",
    "config",
    "console progress errors extras seeds disk machine arithmetic spreadsheet",
]
FLOOR = {f"cnnbench.{room}": floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}


def room_of(module):
    return ".".join(module.split(".")[:2])


def imports(tree):
    """Every module imported anywhere in the tree; `from a import b` counts as both `a` and `a.b`.

    What only a type checker imports is none.
    """
    for_types = {
        id(inside)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and dotted(node.test) == "TYPE_CHECKING"
        for inside in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a module comes from"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def used_modules(module):
    """The modules of ours that a module imports; of `from package import module` that module alone."""
    named = {name for name in imports(TREES[module]) if name in TREES}
    nodes = [node for node in ast.walk(TREES[module]) if isinstance(node, ast.ImportFrom)]
    through = {n.module for n in nodes if all(f"{n.module}.{alias.name}" in TREES for alias in n.names)}
    direct = {n.module for n in nodes if any(f"{n.module}.{alias.name}" not in TREES for alias in n.names)}
    return sorted(named - (through - direct) - {module, "cnnbench"})


def test_every_module_stands_in_a_room():
    assert {room_of(module) for module in TREES if module != "cnnbench"} == set(FLOOR)


@pytest.mark.parametrize("module", [module for module in TREES if module != "cnnbench"])
def test_imports_go_down(module):
    own = FLOOR[room_of(module)]
    assert [used for used in used_modules(module) if FLOOR[room_of(used)] < own] == []


def test_there_are_no_circles():
    waiting = {module: set(used_modules(module)) for module in TREES}
    while free := [module for module, used in waiting.items() if not used & waiting.keys()]:
        for module in free:
            del waiting[module]
    assert waiting == {}


def test_reading_runs_imports_no_torch_anywhere_not_even_inside_a_function():
    reached = {module for module in TREES if room_of(module) == "cnnbench.analysis"}
    while more := {used for module in reached for used in used_modules(module)} - reached:
        reached |= more
    assert [
        module for module in sorted(reached) if "torch" in {name.split(".")[0] for name in imports(TREES[module])}
    ] == []


def test_a_command_is_imported_by_the_command_line_alone():
    verbs = {f"cnnbench.commands.{verb}" for verb in VERBS}
    assert verbs <= set(TREES)
    assert [(module, used) for module in TREES for used in used_modules(module) if used in verbs] == []


@pytest.mark.parametrize("module", TREES)
def test_every_module_named_in_a_text_is_there(module):
    texts = [node.value for node in ast.walk(TREES[module]) if isinstance(node, ast.Constant) and node.value]
    names = [
        text.partition(":")[0]
        for text in texts
        if isinstance(text, str) and re.fullmatch(r"cnnbench(\.[a-z_]+)+(:\w+)?", text)
    ]
    entry_points = {group.entry_points for group in (GROUPS | OF_COMPRESSION).values()}
    assert [name for name in names if name not in TREES and name not in entry_points] == []


def test_only_the_config_and_the_sweeps_know_hydra():
    found = {
        room_of(module)
        for module, tree in TREES.items()
        for name in imports(tree)
        if name.split(".")[0] in ("hydra", "omegaconf")
    }
    assert found == {"cnnbench.config", "cnnbench.sweeps"}


def texts_of(tree):
    """The text constants of the code that are no docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


def test_only_the_machine_is_read_from_proc_and_git():
    reading = [module for module in TREES if any(t.startswith("/proc") or t == "git" for t in texts_of(TREES[module]))]
    assert reading == ["cnnbench.machine"]


def test_techniques_and_models_know_no_run_and_no_config_object():
    known = {
        "cnnbench.runs",
        "cnnbench.config.run_config",
        "cnnbench.config.compose",
        "cnnbench.disk",
        "cnnbench.console",
    }
    found = [
        (module, used)
        for module in TREES
        if module.startswith(("cnnbench.techniques", "cnnbench.models"))
        for used in used_modules(module)
        if used in known or room_of(used) in known
    ]
    assert found == []


def module_level(tree):
    """The statements that run on import: all but the bodies of functions."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


SLOW_PACKAGES = ("torchvision", "sklearn", "scipy", "matplotlib", "pandas", "tensorboard", "mlflow", "wandb")


def test_slow_packages_are_imported_only_inside_functions():
    found = {
        (module, name)
        for module, tree in TREES.items()
        for node in module_level(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imports(node)
        if name.split(".")[0] in SLOW_PACKAGES or name == "torch.utils.tensorboard"
    }
    assert found == set()


def dotted(node):
    """`a.b.c` of a name or attribute, else an empty string."""
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


RUNS_CODE = ("eval", "exec", "compile", "__import__", "os.system", "os.popen")
FORBIDDEN_ENDINGS = ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "extractall", "utils.instantiate")
FORBIDDEN_MODULES = ("pickle.", "cPickle.", "dill.", "marshal.", "shelve.", "torchvision.io.", "hydra.utils.")


def is_constant(call, keyword, value):
    return any(k.arg == keyword and isinstance(k.value, ast.Constant) and k.value.value is value for k in call.keywords)


def forbidden_calls(tree):
    """What could run code of a file's or a config's choice."""
    for node in ast.walk(tree):
        name = dotted(node.func) if isinstance(node, ast.Call) else ""
        if name in RUNS_CODE or name.endswith(FORBIDDEN_ENDINGS):
            yield name
        if name == "torch.load" and not is_constant(node, "weights_only", True):
            yield "torch.load without weights_only=True"
        if isinstance(node, ast.keyword) and node.arg in ("shell", "allow_pickle"):
            yield f"{node.arg}="
    yield from (name for name in imports(tree) if f"{name}.".startswith(FORBIDDEN_MODULES))


@pytest.mark.parametrize("module", TREES)
def test_nothing_can_run_code_from_a_file_or_a_config(module):
    assert list(forbidden_calls(TREES[module])) == []


@pytest.mark.parametrize(
    "code",
    ["torch.load(f)", "torch.load(f, weights_only=False)", "eval(x)", "subprocess.run(c, shell=True)", "yaml.load(f)",
     "tar.extractall()", "import pickle", "from torchvision import io", "from torchvision.io import read_image",
     "hydra.utils.instantiate(c)", "from hydra.utils import instantiate", "np.load(f, allow_pickle=True)"],
)  # fmt: skip
def test_the_gate_above_sees(code):
    assert list(forbidden_calls(ast.parse(code)))


def test_only_the_console_prints():
    streams = ("sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__")
    of_cli = ("sys.stdout.flush", "sys.stdout.fileno")  # neither writes
    found = []
    for module, tree in TREES.items():
        attributes = [dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        calls = [dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
        written = [name for name in attributes if name in streams]
        harmless = [name for name in attributes if name in of_cli and module == "cnnbench.cli"]
        if module != "cnnbench.console" and ("print" in calls or len(written) > len(harmless)):
            found.append(module)
    assert found == []


@pytest.mark.parametrize("module", TREES)
def test_every_module_public_function_and_class_has_a_docstring(module):
    tree = TREES[module]
    public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
    assert [getattr(node, "name", module) for node in (tree, *public) if not ast.get_docstring(node)] == []


WITHOUT_TORCH = {
    "--help": "run(['--help'])",
    "--version": "run(['--version'])",
    "list": "run(['list'])",
    "list model": "run(['list', 'model'])",
    "train --help": "run(['train', '--help'])",
    "train --cfg job": "run(['train', '--cfg', 'job'])",
    "bench --help": "run(['bench', '--help'])",
    "compare --help": "run(['compare', '--help'])",
    "runs --help": "run(['runs', '--help'])",
    "runs DIR": "run(['runs', RUNS])",
    "report --help": "run(['report', '--help'])",
    "ablate --help": "run(['ablate', '--help'])",
    "plan --help": "run(['plan', '--help'])",
    "evaluate --help": "run(['evaluate', '--help'])",
    "predict --help": "run(['predict', '--help'])",
    "export --help": "run(['export', '--help'])",
    "doctor --help": "run(['doctor', '--help'])",
    "data --help": "run(['data', '--help'])",
    "completing verbs": "run(['-sc', 'query', 'cnnbench tr'])",
    "completing choices": "run(['-sc', 'query', 'cnnbench train model=de'])",
    "completing keys": "run(['-sc', 'query', 'cnnbench train optimizer.'])",
    "completing flags": "sum(run(['-sc', 'query', f'cnnbench {verb} --']) for verb in VERBS)",
    "an unknown verb": "run(['trian']) - 2",
    "reading runs": "__import__('cnnbench.runs.format').runs.format.new_run_id() == ''",
}


@pytest.mark.parametrize("code", WITHOUT_TORCH.values(), ids=WITHOUT_TORCH)
def test_what_needs_no_torch_does_not_wait_for_it(code, tmp_path, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    make_run(runs / "a")
    heavy = f"[m for m in {('torch', *SLOW_PACKAGES)} if m in sys.modules]"
    script = f"""
import sys
from cnnbench.cli import VERBS, run
RUNS = {str(runs)!r}
try:
    code = int({code})
except SystemExit as leaving:  # as Hydra's --help does
    code = leaving.code or 0
sys.stderr.write(repr(({heavy}, code)))
"""
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, env=variables)
    assert done.stderr.endswith("([], 0)"), done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("group", "path"),
    [
        (group, path)
        for group in (*GROUPS, *OF_COMPRESSION)
        for path in sorted((CONF / group).glob("*.yaml"))
        if (group, path.stem) != ("compression", NOTHING)
    ],
    ids=lambda value: getattr(value, "stem", value),
)
def test_every_key_of_a_yaml_is_a_setting_and_every_setting_is_in_the_yaml(group, path):
    node = yaml.safe_load(path.read_text(encoding="utf-8"))
    table = table_of(group)
    nodes = node if group in LIST_GROUPS else {node.pop("name"): node}
    shared = set(settings(split)) if group == "data" else set()
    for name, values in nodes.items():
        assert set(values) == set(settings(table[name])) | shared


@pytest.mark.parametrize("group", [*GROUPS, *OF_COMPRESSION])
def test_every_function_of_a_table_can_be_chosen_by_a_yaml(group):
    nodes = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (CONF / group).glob("*.yaml")]
    named = {name for node in nodes for name in (node if group in LIST_GROUPS else [node["name"]])}
    assert set(table_of(group)) - named == set()


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_composes_and_says_what_it_is(path):
    config = compose([f"experiment={path.stem}"])
    stated = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key in ("seed", "epochs", "batch_size"):
        assert getattr(config, key) == stated.get(key, getattr(config, key))
    directive, header = path.read_text(encoding="utf-8").splitlines()[:2]
    assert directive == "# @package _global_"  # on the second line Hydra does not see it
    assert header.startswith("# ")

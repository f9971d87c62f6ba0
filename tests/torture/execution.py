"""Tries to have a config or a command line run code, read the environment or write elsewhere; each leaves a canary.

    python tests/torture/execution.py

A try is a command line in a folder of its own with hostile files; it fails where the canary is there afterwards, a
traceback is shown, a secret is written, or the command does not end with 0 or 2. `--count` takes the first of them.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from torture import Report, environment, main, run

SECRET = "swordfish"  # in the environment of every try
EXPERIMENT = "experiment/x.yaml"
WITH_FILE = ["train", "--config-dir", "own", "experiment=x"]
TINY = ["data=synthetic", "data.train_images=40", "data.test_images=9", "epochs=1", "batch_size=20", "model.widths=[2]"]
Try = tuple[Sequence[str], dict[str, str]]  # a command line, and the files it finds

CALLS = (  # each makes the canary where Hydra instantiates it
    "{_target_: os.system, _args_: ['touch CANARY']}",
    "{_target_: builtins.open, file: CANARY, mode: w}",
    "{_target_: pathlib.Path.touch, _args_: [{_target_: pathlib.Path, _args_: [CANARY]}]}",
    "{_target_: subprocess.Popen, args: [touch, CANARY]}",
    "{_target_: builtins.exec, _args_: [\"open('CANARY', 'w')\"]}",
    "{_target_: torch.load, f: own/evil.pickle, weights_only: false}",
    "{_target_: numpy.load, file: own/evil.pickle, allow_pickle: true}",
    "{_target_: hydra._internal.utils._locate, path: canary_module}",
)
HANDLER = "{version: 1, handlers: {f: {class: logging.FileHandler, filename: CANARY}}, root: {handlers: [f]}}"
FACTORY = "{version: 1, handlers: {f: {(): os.system, command: 'touch CANARY'}}, root: {handlers: [f]}}"
GROUPS = [
    "model",
    "data",
    "augmentation",
    "loss",
    "optimizer",
    "schedule",
    "regularization",
    "pruning",
    "device",
    "logging",
]

TAGS = (
    "object/apply:os.system ['touch CANARY']",
    "object/new:os.system ['touch CANARY']",
    "object/apply:subprocess.call [[touch, CANARY]]",
    "object:canary_module.X {}",
    "module:canary_module",
    "name:os.system",
)
VALUES = (
    "${oc.env:SECRET}",
    "a${oc.env:SECRET}b",
    "${oc.decode:'${oc.env:SECRET}'}",
    "${oc.${x}:SECRET}",
    "${oc.create:{_target_:os.system}}",
    "${hydra:job.env_set.SECRET}",
    "${hydra.job.env_set.SECRET}",
)
OVERRIDES = (
    "hydra.searchpath=[pkg://canary_module]",
    "hydra.output_subdir=CANARY",
    "+hydra.callbacks.a._target_=os.system",
    "hydra.job_logging.handlers.f.filename=CANARY",
    f"+hydra.job_logging={HANDLER}",
    "hydra.sweep.subdir=../CANARY",
    "hydra/job_logging=stdout",
    "hydra={callbacks:{a:{_target_:os.system}}}",
    "++hydra.launcher._target_=os.system",
    "+model._target_=os.system",
    "model={_target_:os.system}",
    "data.root='${oc.env:SECRET}'",
    "model.name=os.system",
    "hydra.job.env_set={A:CANARY}",
    "hydra.mode=MULTIRUN",
    'hydra.launcher.pre_dispatch=\'open("CANARY","w")\'',
    "++hydra.run={dir:CANARY}",
    "regularization.ema.name=os.system",
    "hydra.sweeper.params={a:'1'}",
)


def whole(text: str) -> str:
    return f"# @package _global_\n{text}\n"


def tries() -> Iterator[Try]:
    """The corpus."""
    for flag in ("--exp", "--experimental", "--experimental-rerun", "--e", "--experimental-rer"):
        yield ["train", flag, "own/evil.pickle"], {}
        yield ["train", f"{flag}=own/evil.pickle"], {}
    for call in CALLS:
        yield WITH_FILE, {EXPERIMENT: whole(f"hydra: {{callbacks: {{a: {call}}}}}")}
        yield WITH_FILE, {EXPERIMENT: whole(f"model: {call}")}
    for group in GROUPS:
        yield ["train", "--config-dir", "own", f"{group}=x"], {f"{group}/x.yaml": CALLS[0]}
    for look in (["--help"], ["--cfg", "hydra"], ["--cfg", "all", "--resolve"], ["--info", "config"], ["-m"]):
        yield [*WITH_FILE, *look], {EXPERIMENT: whole(f"hydra: {{hydra_logging: {FACTORY}, job_logging: {FACTORY}}}")}
        yield [*WITH_FILE, *look], {EXPERIMENT: whole(f"hydra: {{callbacks: {{a: {CALLS[0]}}}}}")}
    for hydra in (f"job_logging: {HANDLER}", f"hydra_logging: {HANDLER}", "run: {dir: CANARY}", "output_subdir: CANARY",
                  "sweep: {dir: CANARY}", f"launcher: {CALLS[0]}", f"sweeper: {CALLS[0]}",
                  "job: {env_set: {LD_PRELOAD: CANARY}}", "job: {env_copy: [SECRET]}", "job: {env_copy: [NOT_THERE]}",
                  "searchpath: ['pkg://canary_module']"):  # fmt: skip
        yield WITH_FILE, {EXPERIMENT: whole(f"hydra: {{{hydra}}}")}
        yield [*WITH_FILE, "-m", "seed=0,1"], {EXPERIMENT: whole(f"hydra: {{{hydra}}}")}
    for header in ("hydra.callbacks.a", "hydra.launcher", "hydra.sweeper", "model", "_global_.hydra.callbacks.a"):
        yield WITH_FILE, {EXPERIMENT: f"# @package {header}\n{CALLS[0].strip('{}')}\n".replace(", _args_", "\n_args_")}
    for group in ("callbacks", "launcher", "sweeper", "job_logging", "hydra_logging", "env", "output"):
        files = {f"hydra/{group}/mine.yaml": f"a: {CALLS[0]}" if group == "callbacks" else CALLS[0]}
        yield WITH_FILE, {EXPERIMENT: whole(f"defaults: [{{override /hydra/{group}: mine}}]")} | files
        yield ["train", "--config-dir", "own", f"hydra/{group}=mine"], files
        yield ["train", "--config-dir", "own", f"+hydra/{group}@hydra.callbacks.a=mine"], files
    yield ["train", "--config-dir", "own", "-m", "seed=0,1"], {"hydra/launcher/basic.yaml": CALLS[0]}
    yield ["train", "--config-dir", "own"], {"config.yaml": f"hydra: {{callbacks: {{a: {CALLS[0]}}}}}"}
    yield WITH_FILE, {EXPERIMENT: whole("defaults: [{/model@hydra.callbacks.a: x}]"), "model/x.yaml": CALLS[0]}
    yield ["train", "--config-dir", "own", "+model@hydra.callbacks.a=x"], {"model/x.yaml": CALLS[0]}
    yield (
        ["train", "-m", "--config-dir", "own", "model=x,simple", "data=y,digits"],
        {
            "model/x.yaml": "defaults: [{/hydra/callbacks@hydra.callbacks: '${data}_z'}]\nname: lenet",
            "data/y.yaml": "name: digits",
            "hydra/callbacks/y_z.yaml": f"a: {CALLS[0]}",
        },
    )
    for tag in TAGS:
        yield ["train", "--config-dir", "own", "model=x"], {"model/x.yaml": f"name: !!python/{tag}"}
        yield ["ablate", "--config-dir", "own", "ablation=x"], {"ablation/x.yaml": f"baseline: !!python/{tag}"}
    for override in OVERRIDES:
        for verb in (["train"], ["train", "-m"], ["bench"], ["ablate", "--yes"]):
            yield [*verb, override], {}
    for value in VALUES:
        text = f'name: image_folder\nroot: "{value}"'
        yield ["train", "--config-dir", "own", "data=x"], {"data/x.yaml": text}
        yield ["train", "--config-dir", "own", "data=x", "--cfg", "job", "--resolve"], {"data/x.yaml": text}
    for name in ("canary_module:X", "canary_module", "os.system", "../own/evil", "__import__('canary_module')"):
        for group in ("model", "loss", "regularization"):
            text = f"'{name}': {{}}" if group == "regularization" else f'name: "{name}"'
            yield ["train", "--config-dir", "own", f"{group}=x"], {f"{group}/x.yaml": text}
    for line in (
        "train hydra.searchpath=[pkg://canary_module] mo",
        "train --exp own/evil.pickle mo",
        "train +x.a._target_=os.s",
    ):
        yield ["-sc", "query", f"cnnbench {line}"], {}


def torture(report: Report, count: int, seed: int, folder: Path) -> None:
    """`count` tries spread evenly over the corpus, or all; `seed` is not used."""
    corpus = list(tries())
    for number in range(min(count, len(corpus))):
        place = number * len(corpus) // min(count, len(corpus))
        attempt(report, folder / str(place), *corpus[place])


def attempt(report: Report, folder: Path, arguments: Sequence[str], files: dict[str, str]) -> None:
    """Runs one try, and looks at what it left."""
    canary = folder / "canary"
    (folder / "own").mkdir(parents=True)
    (folder / "own" / "evil.pickle").write_bytes(f"cos\nsystem\n(S'touch {canary}'\ntR.".encode())
    (folder / "canary_module.py").write_text(f"open({str(canary)!r}, 'w')\nX = None\n")
    for name, text in files.items():
        (folder / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "own" / name).write_text(text.replace("CANARY", str(canary)))
    words = [word.replace("CANARY", str(canary)) for word in arguments]
    variables = environment(folder, SECRET=SECRET)
    variables["PYTHONPATH"] += f":{folder}"
    more = TINY if words[0] == "train" and not any("data=x" in word for word in words) else []
    ending = run([*words, *more], folder, limit=120, env=variables)
    shown = f"{words} with {files}: {ending.err.strip()[-300:]}"
    leaks = SECRET in ending.out + ending.err or any(
        SECRET in path.read_text(errors="replace") for path in folder.rglob("*.yaml")
    )
    if canary.exists() or (folder.parent / "canary").exists():
        report.note("executed", f"executed: {shown}")
    elif leaks:
        report.note("leaked", f"leaked: {shown}")
    elif ending.has_traceback or ending.exit_code not in (0, 2):
        report.note(f"exit code {ending.exit_code}", f"exit code {ending.exit_code}: {shown}")
    elif ending.exit_code == 2 and not ending.is_one_line:
        report.note("more than a line", f"more than a line: {shown}")
    else:
        report.note("harmless" if ending.exit_code == 0 else "refused")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(torture, count=len(list(tries())), doc=__doc__)

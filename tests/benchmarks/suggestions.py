"""How often an error names the cure: mistakes of many kinds made from the schema, and what is said of each.

    python tests/benchmarks/suggestions.py [--per-kind 50] [--seed 0] [--misses]

A mistake is made from something right, so what was meant is known here, and here alone. It is cured where the one error
for it names the key or choice that was meant; where it gives overrides, these must compose too.
"""

import argparse
import random
import re
import shlex
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from cnnbench.cli import dispatch
from cnnbench.config.compose import compose
from cnnbench.config.overrides import refuse_mistakes
from cnnbench.config.run_config import SECTIONS, RunConfig, types_of
from cnnbench.config.settings import settings, spell
from cnnbench.config.tables import GROUPS, LIST_GROUPS, shared_settings, table_of
from cnnbench.errors import CnnbenchError, ConfigError


@dataclass(frozen=True)
class Mistake:
    """What is typed after `cnnbench train`, and the overrides of which one has to be in the error: `key` or `key=`."""

    typed: list[str]
    meant: tuple[str, ...]


SYNONYMS = {
    "learning_rate=0.1": "optimizer.lr=0.1", "bs=32": "batch_size=32", "num_epochs=3": "epochs=3",
    "augment=flip": "augmentation=flip", "dataset=mnist": "data=mnist", "scheduler=step": "schedule=step",
    "arch=densenet121": "model.architecture=densenet121", "amp=true": "device.precision=",
    "num_workers=2": "data.workers=2", "wd=0.1": "optimizer.weight_decay=0.1", "device=gpu": "device=cuda",
    "model=mobilenet": "model.architecture=mobilenet_v3_small",
    "model=efficientnet": "model.architecture=efficientnet_b0", "model=resnet50": "model.depth=50",
    "network=deep": "model=deep", "opt=sgd": "optimizer=sgd", "reg=[mixup]": "regularization=[mixup]",
    "loss=ce": "loss=cross_entropy", "max_epochs=4": "epochs=4", "random_state=3": "seed=3",
    "batch=16": "batch_size=16", "regularization=[dropout]": "model.dropout=",
    "regularization=[weight_decay]": "optimizer.weight_decay=", "regularization=none": "regularization=[]",
    "schedule=onecycle": "schedule=one_cycle", "data=fashion": "data=fashion_mnist",
    "criterion=smooth_l1": "loss=smooth_l1", "grad_clip=1.0": "regularization.gradient_clip.max_norm=1.0",
    "label_smooth=0.2": "loss.label_smoothing=0.2", "dtype=bf16": "device.precision=bf16",
    "data_dir=x": "data.root=x", "data=./photos": "data.root=./photos", "augmentation=random_crop": "crop_flip",
    "optimizer=adam_w": "adamw", "lr_scheduler=cosine": "schedule=cosine", "nb_epochs=2": "epochs",
    "batchsize=8": "batch_size=8", "n_epochs=7": "epochs=7", "learningrate=0.1": "optimizer.lr=0.1",
}  # fmt: skip
"""Words from other programs and what they mean here."""


class Schema:
    """Every key with its annotation, from the signatures alone."""

    def __init__(self) -> None:
        self.choices = {group: sorted(table_of(group)) for group in GROUPS}
        shape = types_of(RunConfig)
        self.top = {key: kind for key, kind in shape.items() if key not in GROUPS and key not in SECTIONS}
        for section, kind in SECTIONS.items():
            self.top |= {f"{section}.{key}": annotation for key, annotation in types_of(kind).items()}
        self.of: dict[tuple[str, str], dict[str, Any]] = {}
        for group, names in self.choices.items():
            shared = shared_settings(group)
            for name in names:
                keys = settings(table_of(group)[name]) | (settings(shared) if shared else {})
                inner = f"{group}.{name}" if group in LIST_GROUPS else group
                self.of[group, name] = {f"{inner}.{key}": kind for key, kind in keys.items()}
        self.defaults = flat(compose([]).as_dict())
        self.present = {key for key in self.defaults if key in self.top or key.split(".")[0] in GROUPS}

    def value(self, key: str, choice: list[str]) -> str:
        """The default of the key beside these choices, which is right."""
        return spell(flat(compose(choice).as_dict()).get(key)).replace(" ", "")


def flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"optimizer.lr": 0.1, ...}`."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return {key: value for key, value in found.items() if not key.endswith(".name")}


def misspelt(word: str, dice: random.Random) -> str:
    """The word with a letter lost, doubled, swapped or mistyped."""
    while True:
        at = dice.randrange(len(word))
        options = [word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:]]
        options += [word[:at] + dice.choice(string.ascii_lowercase) + word[at + 1 :]]
        options += [word[:at] + word[at + 1] + word[at] + word[at + 2 :]] if at + 1 < len(word) else []
        other = dice.choice(options)
        if other != word and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", other):
            return other


def choosing(group: str, name: str) -> str:
    return f"{group}=[{name}]" if group in LIST_GROUPS else f"{group}={name}"


def typo_in_key(schema: Schema, dice: random.Random) -> Mistake:
    key = dice.choice(sorted(schema.present))
    head, _, leaf = key.rpartition(".")
    wrong = f"{head}.{misspelt(leaf, dice)}" if head else misspelt(leaf, dice)
    return Mistake([f"{wrong}={schema.value(key, [])}"], (key,))


def typo_in_group(schema: Schema, dice: random.Random) -> Mistake:
    key = dice.choice([key for key in sorted(schema.present) if "." in key])
    head, _, leaf = key.rpartition(".")
    return Mistake([f"{misspelt(head, dice)}.{leaf}={schema.value(key, [])}"], (key,))


def typo_in_choice(schema: Schema, dice: random.Random) -> Mistake:
    group = dice.choice(sorted(GROUPS))
    name = dice.choice([name for name in schema.choices[group] if len(name) > 2])
    return Mistake([choosing(group, misspelt(name, dice))], (name,))


def typo_in_enum(schema: Schema, dice: random.Random) -> Mistake:
    group, name, key, kind = dice.choice(
        [(*of, key, kind) for of, keys in sorted(schema.of.items()) for key, kind in keys.items() if words_of(kind)]
    )
    word = dice.choice([word for word in words_of(kind) if len(word) > 2])
    return Mistake([choosing(group, name), f"{key}={misspelt(word, dice)}"], (word,))


def words_of(kind: Any) -> list[str]:
    if get_origin(kind) is Literal:
        return [word for word in get_args(kind) if isinstance(word, str) and len(word) > 2]
    return [word for argument in get_args(kind) for word in words_of(argument)]


def key_under_another_group(schema: Schema, dice: random.Random) -> Mistake:
    key = dice.choice([key for key in sorted(schema.present) if "." in key])
    head, _, leaf = key.rpartition(".")
    others = [group for group in GROUPS if group != head and f"{group}.{leaf}" not in all_keys(schema)]
    return Mistake([f"{dice.choice(others)}.{leaf}={schema.value(key, [])}"], (key,))


def all_keys(schema: Schema) -> set[str]:
    return {*schema.top, *(key for keys in schema.of.values() for key in keys)}


def bare_key(schema: Schema, dice: random.Random) -> Mistake:
    key = dice.choice([key for key in sorted(all_keys(schema)) if "." in key])
    leaf = key.rpartition(".")[2]
    if leaf in schema.top or leaf in GROUPS:
        return bare_key(schema, dice)
    group, name = (
        next(of for of, keys in sorted(schema.of.items()) if key in keys) if key not in schema.top else ("", "")
    )
    value = schema.value(key, [choosing(group, name)] if group and name not in ("image_folder", "auto") else [])
    alike = tuple(other for other in sorted(all_keys(schema)) if other.rpartition(".")[2] == leaf)
    here = tuple(other for other in alike if other in schema.present)
    return Mistake([f"{leaf}={value}"], here or alike)


def key_of_another_choice(schema: Schema, dice: random.Random) -> Mistake:
    absent = [(*of, key) for of, keys in sorted(schema.of.items()) for key in keys if key not in schema.present]
    group, name, key = dice.choice([found for found in absent if found[0] not in LIST_GROUPS])
    return Mistake([f"{key}={schema.value(key, [choosing(group, name)])}"], (key,))


def choice_of_another_group(schema: Schema, dice: random.Random) -> Mistake:
    group = dice.choice(sorted(GROUPS))
    name = dice.choice(schema.choices[group])
    others = [other for other in GROUPS if other != group and name not in schema.choices[other]]
    homes = tuple(choosing(home, name) for home in GROUPS if name in schema.choices[home])
    return Mistake([choosing(dice.choice(others), name)], homes)


def missing_list_member(schema: Schema, dice: random.Random) -> Mistake:
    of = [(*of, key) for of, keys in sorted(schema.of.items()) for key in keys if of[0] in LIST_GROUPS]
    group, name, key = dice.choice(of)
    return Mistake([f"{key}={schema.value(key, [choosing(group, name)])}"], (choosing(group, name),))


def wrong_type(schema: Schema, dice: random.Random) -> Mistake:
    numbers = {
        key: value for key, value in schema.defaults.items() if type(value) in (int, float) and key in schema.present
    }
    flags = {key: value for key, value in schema.defaults.items() if isinstance(value, bool)}
    lists = {key: value for key, value in schema.defaults.items() if isinstance(value, list)}
    key, value = dice.choice(sorted(numbers.items()) + sorted(flags.items()) + sorted(lists.items(), key=str))
    if isinstance(value, bool):
        return Mistake(
            [f"{key}={dice.choice(['yes', 'on', 'True.', 'Y'] if value else ['no', 'off', 'N'])}"],
            (f"{key}={spell(value)}",),
        )
    if isinstance(value, list):
        return Mistake([f"{key}={value[0]}"], (f"{key}=[{value[0]}",))
    return Mistake([f"{key}={spell(value)}{dice.choice('xsE')}"], (f"{key}={spell(value)}",))


def by_another_word(schema: Schema, dice: random.Random) -> Mistake:
    typed = dice.choice(sorted(SYNONYMS))
    return Mistake([typed], (SYNONYMS[typed],))


def no_equals_sign(schema: Schema, dice: random.Random) -> Mistake:
    group = dice.choice([group for group in GROUPS if group not in LIST_GROUPS])
    name = dice.choice(schema.choices[group])
    key = dice.choice([key for key in sorted(schema.present) if isinstance(schema.defaults.get(key), int | float)])
    pairs = [(group, name), (key, schema.value(key, []))]
    word, value = dice.choice(pairs)
    return Mistake([word, value] if dice.random() < 0.7 else [f"{word}:{value}"], (f"{word}={value}",))


def as_a_flag(schema: Schema, dice: random.Random) -> Mistake:
    keys = [key for key in sorted(schema.present) if isinstance(schema.defaults.get(key), int | float)]
    key = dice.choice(keys)
    value, leaf = schema.value(key, []), key.rpartition(".")[2]
    alike = tuple(other for other in keys if other.rpartition(".")[2] == leaf)
    flag = f"--{dice.choice([leaf, leaf.replace('_', '-')])}"
    return Mistake([flag, value] if dice.random() < 0.5 else [f"{flag}={value}"], alike)


KINDS: dict[str, Callable[[Schema, random.Random], Mistake]] = {
    "typo in a key": typo_in_key,
    "typo in a group": typo_in_group,
    "typo in a choice": typo_in_choice,
    "typo in a word": typo_in_enum,
    "key of another group": key_under_another_group,
    "bare key": bare_key,
    "key of another choice": key_of_another_choice,
    "choice of another group": choice_of_another_group,
    "another word": by_another_word,
    "list member not chosen": missing_list_member,
    "wrong type": wrong_type,
    "no equals sign": no_equals_sign,
    "as a flag": as_a_flag,
}


def errors_of(typed: list[str]) -> tuple[str, ...]:
    """What cnnbench says."""
    try:
        if any(text.startswith("-") for text in typed):
            dispatch(["train", *typed])
        refuse_mistakes(typed)
    except CnnbenchError as error:
        return error.findings
    return ()


def cures_of(finding: str) -> list[list[str]]:
    """The command lines that an error says to write: alternatives are joined by `or`."""
    _, _, rest = finding.rpartition("write ")
    parts = finding.split("write ")[1:] if rest else []
    found = []
    for part in parts:
        for alternative in re.split(r" or ", part):
            overrides = [text for text in shlex.split(alternative) if "=" in text]
            found += [overrides] if overrides else []
    return found


def is_cured(mistake: Mistake, findings: tuple[str, ...]) -> bool:
    """Whether the errors name what was meant, and what they say to write composes."""
    said = " ".join(finding.partition(": ")[2] for finding in findings).replace("'", "").split("should be one of")
    text = " ".join(part.partition(";")[2] if place else part for place, part in enumerate(said))
    names = [
        re.search(rf"(?<![\w.]){re.escape(meant)}(?![\w]|\.\w)" if meant[-1] not in "=[" else re.escape(meant), text)
        for meant in mistake.meant
    ]
    return bool(findings) and any(names) and all(map(composes, (cure for f in findings for cure in cures_of(f))))


def composes(overrides: list[str]) -> bool:
    """Whether these are right."""
    if any("VALUE" in override for override in overrides):
        return True
    try:
        compose(overrides)
    except ConfigError:
        return False
    return True


def measure(per_kind: int, seed: int) -> Iterator[tuple[str, list[tuple[Mistake, tuple[str, ...]]]]]:
    """Of each kind the mistakes that were not cured, with what was said."""
    schema = Schema()
    for kind, make in KINDS.items():
        dice = random.Random(f"{seed} {kind}")
        tried = [make(schema, dice) for _ in range(per_kind)]
        said = [(mistake, errors_of(mistake.typed)) for mistake in tried]
        yield kind, [(mistake, findings) for mistake, findings in said if not is_cured(mistake, findings)]


def main() -> None:
    """Prints the share that was cured, by kind."""
    parser = argparse.ArgumentParser(description="How often an error names the cure.")
    parser.add_argument("--per-kind", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--misses", action="store_true", help="show what was not cured")
    options = parser.parse_args()
    missed = 0
    for kind, misses in measure(options.per_kind, options.seed):
        missed += len(misses)
        print(f"{kind:26}{1 - len(misses) / options.per_kind:7.1%}", flush=True)
        for mistake, findings in misses if options.misses else ():
            print(f"    {' '.join(mistake.typed)}  meant {mistake.meant}: {' | '.join(findings)}")
    total = len(KINDS) * options.per_kind
    print(f"{'all':26}{1 - missed / total:7.1%}   of {total}")


if __name__ == "__main__":
    main()

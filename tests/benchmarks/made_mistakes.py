"""Mistakes of many kinds as people make them, each made from something right, which is what was meant."""

import re
from collections.abc import Callable
from typing import Any

from cured import Mistake
from other_classes import CLASSES
from other_programs import ARGUMENTS, Table, half
from schema import Dice, Schema, choosing, pair, written

from cnnbench.config.tables import GROUPS, LIST_GROUPS

ROWS = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")


def misspelt(word: str, dice: Dice) -> str:
    """With a letter lost, doubled, swapped with the next, or with its neighbour on the keyboard in its place."""
    while True:
        at = dice.randrange(len(word))
        row = next((row for row in ROWS if word[at] in row), word[at])
        beside = [row[place] for place in (row.index(word[at]) - 1, row.index(word[at]) + 1) if 0 <= place < len(row)]
        options = [word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:]]
        options += [word[:at] + dice.choice(beside) + word[at + 1 :]] if beside else []
        options += [word[:at] + word[at + 1] + word[at] + word[at + 2 :]] if at + 1 < len(word) else []
        other = dice.choice(options)
        if other != word and re.fullmatch(r"[a-z_][a-z0-9_]*", other):
            return other


def said(beside: list[str], wrong: str, *meant: str) -> Mistake:
    return Mistake(beside, [wrong], (meant,))


def typo_in_key(schema: Schema, dice: Dice) -> Mistake:
    beside, key, value = schema.draw(dice)
    head, dot, leaf = key.rpartition(".")
    return said(beside, pair(f"{head}{dot}{misspelt(leaf, dice)}", value), pair(key, value))


def typo_in_group(schema: Schema, dice: Dice) -> Mistake:
    beside, key, value = schema.draw(dice, lambda key, value: "." in key)
    head, _, leaf = key.rpartition(".")
    parts = head.split(".")
    at = dice.randrange(len(parts))
    parts[at] = misspelt(parts[at], dice)
    return said(beside, pair(".".join([*parts, leaf]), value), pair(key, value))


def typo_in_choice(schema: Schema, dice: Dice) -> Mistake:
    group, name = drawn_choice(schema, dice)
    others = [dice.choice([n for n in schema.choices[group] if n != name])] if dice.random() < 0.5 else []
    others = others if group in LIST_GROUPS else []
    return said([], choosing(group, *others, misspelt(name, dice)), choosing(group, *others, name))


def drawn_choice(schema: Schema, dice: Dice) -> tuple[str, str]:
    group = dice.choice(sorted(GROUPS))
    return group, dice.choice([name for name in schema.choices[group] if len(name) > 2 and name != "none"])


def typo_in_word(schema: Schema, dice: Dice) -> Mistake:
    beside, key, value = schema.draw(dice, lambda key, value: isinstance(value, str) and value.isidentifier())
    return said(beside, f"{key}={misspelt(value, dice)}", f"{key}={value}")


def key_of_another_group(schema: Schema, dice: Dice) -> Mistake:
    beside, key, value = schema.draw(dice)
    head, _, leaf = key.rpartition(".")
    other = dice.choice([g for g in GROUPS if g != head.partition(".")[0] and f"{g}.{leaf}" not in schema.keys])
    return Mistake(beside, [pair(f"{other}.{leaf}", value)], alike(schema, beside, key, value))


def alike(schema: Schema, beside: list[str], key: str, value: Any) -> tuple[tuple[str, ...], ...]:
    """Every key of the run that ends so: which of them was meant nobody can know."""
    leaf = key.rpartition(".")[2]
    here = [other for other in schema.defaults(*beside) if other.rpartition(".")[2] == leaf]
    return tuple((pair(other, value),) for other in dict.fromkeys([key, *here]))


def key_without_group(schema: Schema, dice: Dice) -> Mistake:
    beside, key, value = schema.draw(dice, lambda key, value: "." in key and not is_top(schema, key))
    leaf = key.rpartition(".")[2]
    if key in schema.plain or dice.random() < 0.5:
        return Mistake(beside, [pair(leaf, value)], alike(schema, beside, key, value))
    here = [other for other in schema.plain if other.rpartition(".")[2] == leaf]
    ways = tuple((home, pair(key, value)) for home in schema.homes(key))
    return Mistake([], [pair(leaf, value)], tuple((pair(other, value),) for other in here) or ways)


def is_top(schema: Schema, key: str) -> bool:
    return key.rpartition(".")[2] in {*schema.keys, *GROUPS}


def key_of_another_choice(schema: Schema, dice: Dice) -> Mistake:
    _, key, value = schema.draw(
        dice, lambda key, value: key not in schema.plain and key.split(".")[0] not in LIST_GROUPS
    )
    return Mistake([], [pair(key, value)], tuple((home, pair(key, value)) for home in schema.homes(key)))


def list_member_not_chosen(schema: Schema, dice: Dice) -> Mistake:
    _, key, value = schema.draw(dice, lambda key, value: key.split(".")[0] in LIST_GROUPS)
    group, name, _ = key.split(".")
    others = [dice.choice([n for n in schema.choices[group] if n != name])] if dice.random() < 0.5 else []
    beside = [choosing(group, *others)] if others else []
    return said(beside, pair(key, value), choosing(group, *others, name), pair(key, value))


def choice_of_another_group(schema: Schema, dice: Dice) -> Mistake:
    group, name = drawn_choice(schema, dice)
    other = dice.choice([other for other in GROUPS if other != group and name not in schema.choices[other]])
    homes = [choosing(home, name) for home in GROUPS if name in schema.choices[home]]
    return Mistake([], [choosing(other, name)], tuple((home,) for home in homes))


def value_of_wrong_type(schema: Schema, dice: Dice) -> Mistake:
    beside, key, value = schema.draw(dice, lambda key, value: isinstance(value, bool | int | float))
    if isinstance(value, bool):
        typed = dice.choice(
            ["yes", "on", "y", "True.", "enabled"] if value else ["no", "off", "n", "False.", "disabled"]
        )
    elif isinstance(value, int):
        typed = dice.choice([f"{value}.0", f"{value}epochs", f"'{value} '", f"{value}x", f"{value}e0"])
    else:
        typed = dice.choice(
            [f"{value * 100:.10g}%", f"{value}s", f"{value}".replace(".", ","), f"{value}f", f"'{value} %'"]
        )
        value = value / 100 if typed.endswith(" %'") else value
    return said(beside, f"{key}={typed}", pair(key, value))


def list_or_one(schema: Schema, dice: Dice) -> Mistake:
    if dice.random() < 0.4:
        group, name = drawn_choice(schema, dice)
        if group not in LIST_GROUPS:
            return said([], f"{group}=[{name}]", f"{group}={name}")
        other = dice.choice([n for n in schema.choices[group] if n not in (name, "none")])
        return said([], f"{group}={name},{other}", f"{group}=[{name},{other}]")
    beside, key, value = schema.draw(dice, lambda key, value: not isinstance(value, str | bool))
    if isinstance(value, list):
        return said(beside, f"{key}={','.join(map(str, value))}", pair(key, value))
    return said(beside, f"{key}=[{value}]", pair(key, value))


def as_a_flag(schema: Schema, dice: Dice) -> Mistake:
    if dice.random() < 0.3:
        group, name = drawn_choice(schema, dice)
        beside, key, value, meant = [], group, name, ((choosing(group, name),),)
    else:
        beside, key, number = schema.draw(dice, lambda key, value: isinstance(value, int | float))
        meant, value = alike(schema, beside, key, number), written(number)
        key = key if is_top(schema, key) or dice.random() < 0.3 else key.rpartition(".")[2]
        meant = meant if "." not in key else meant[:1]
    flag = f"--{key.replace('_', '-') if dice.random() < 0.5 else key}"
    return Mistake(beside, [flag, value] if dice.random() < 0.5 else [f"{flag}={value}"], meant)


def no_equals_sign(schema: Schema, dice: Dice) -> Mistake:
    group, name = drawn_choice(schema, dice)
    beside, key, value = schema.draw(dice, lambda key, value: isinstance(value, int | float))
    beside, key, value = (
        ([], group, name) if group not in LIST_GROUPS and dice.random() < 0.4 else (beside, key, written(value))
    )
    forms = [
        [key, value],
        [f"{key}:{value}"],
        [f"{key}:", value],
        [key, "=", value],
        [f"{key}=", value],
        [key, f"={value}"],
    ]
    forms += [[f"{key} = {value}"], [f"{key}=={value}"], [f"{key}:={value}"]]
    return Mistake(beside, dice.choice(forms), ((f"{key}={value}",),))


def capitals_and_hyphens(schema: Schema, dice: Dice) -> Mistake:
    def other(word: str) -> str:
        ways = [word.upper(), word.title(), word.replace("_", "-"), word.replace("_", "-").title()]
        ways += [re.sub(r"_(\w)", lambda found: found[1].upper(), word), word.title().replace("_", "")]
        return dice.choice([way for way in ways if way != word])

    if dice.random() < 0.4:
        group, name = drawn_choice(schema, dice)
        return said([], choosing(group, other(name)), choosing(group, name))
    beside, key, value = schema.draw(dice)
    return said(beside, pair(other(key), value), pair(key, value))


def prefixed(schema: Schema, dice: Dice) -> Mistake:
    beside, key, value = schema.draw(dice, lambda key, value: key.split(".")[0] not in LIST_GROUPS)
    if dice.random() < 0.5:
        return said(beside, f"+{pair(key, value)}", pair(key, value))
    head, dot, leaf = key.rpartition(".")
    return said(
        beside, f"{dice.choice(['+', '++'])}{pair(f'{head}{dot}{misspelt(leaf, dice)}', value)}", pair(key, value)
    )


def singular_or_plural(schema: Schema, dice: Dice) -> Mistake:
    def other(word: str) -> str:
        return word[:-1] if word.endswith("s") else f"{word}s"

    if dice.random() < 0.4:
        group, name = drawn_choice(schema, dice)
        wrong = (
            choosing(group, name).replace(group, other(group), 1)
            if dice.random() < 0.5
            else choosing(group, other(name))
        )
        return said([], wrong, choosing(group, name))
    beside, key, value = schema.draw(dice)
    parts = key.split(".")
    at = dice.randrange(len(parts))
    parts[at] = other(parts[at])
    wrong = ".".join(parts)
    return (
        singular_or_plural(schema, dice) if wrong in schema.keys else said(beside, pair(wrong, value), pair(key, value))
    )


def other_separator(schema: Schema, dice: Dice) -> Mistake:
    beside, key, value = schema.draw(dice, lambda key, value: "." in key or "_" in key)
    at = dice.choice([place for place, letter in enumerate(key) if letter in "._"])
    wrong = key[:at] + dice.choice(["", "-", "_" if key[at] == "." else ".", "/"]) + key[at + 1 :]
    return said(beside, pair(wrong, value), pair(key, value))


def abbreviated(schema: Schema, dice: Dice) -> Mistake:
    beside, key, value = schema.draw(dice, lambda key, value: any(len(part) > 6 for part in key.split(".")))
    parts = key.split(".")
    at = dice.choice([place for place, part in enumerate(parts) if len(part) > 6])
    parts[at] = parts[at][: dice.choice([3, 4, 5])].rstrip("_")
    return said(beside, pair(".".join(parts), value), pair(key, value))


def of_other_programs(table: Table, held_out: bool) -> Callable[[Schema, Dice], Mistake]:
    words = half(table, held_out=held_out)

    def draw(schema: Schema, dice: Dice) -> Mistake:
        typed, meant = dice.choice(words)
        return Mistake(typed[:-1], typed[-1:], tuple(tuple(w for w in way if w not in typed[:-1]) for way in meant))

    return draw


def kinds(*, held_out: bool = True) -> dict[str, Callable[[Schema, Dice], Mistake]]:
    """What makes a mistake of each kind; of the words of other programs the half held out, or the other."""
    return {
        "typo in a key": typo_in_key,
        "typo in a group": typo_in_group,
        "typo in a choice": typo_in_choice,
        "typo in a word": typo_in_word,
        "key of another group": key_of_another_group,
        "key without its group": key_without_group,
        "key of another choice": key_of_another_choice,
        "key of a list member not chosen": list_member_not_chosen,
        "choice of another group": choice_of_another_group,
        "argument of another program": of_other_programs(ARGUMENTS, held_out),
        "class of another program": of_other_programs(CLASSES, held_out),
        "value of a wrong type or unit": value_of_wrong_type,
        "a list for one, one for a list": list_or_one,
        "as a flag": as_a_flag,
        "no equals sign": no_equals_sign,
        "capitals and hyphens": capitals_and_hyphens,
        "with + or ++": prefixed,
        "singular or plural": singular_or_plural,
        "another separator": other_separator,
        "abbreviated": abbreviated,
    }

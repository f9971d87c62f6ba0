"""Conditions on runs, as one types them: `optimizer.name=sgd and not test_accuracy<0.9`. Read, never evaluated as code.

any         = all {"or" all}
all         = one {"and" one}
one         = "not" one | "(" any ")" | comparison
comparison  = KEY ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "~") VALUE
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from cnnbench.analysis.config_labels import write_value
from cnnbench.errors import ConfigError

OPERATORS = ("==", "!=", "<=", ">=", "=", "<", ">", "~")
WORDS = ("and", "or", "not")
DEEPEST = 50  # parentheses and `not`s within one another
TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<operator>[=!<>]=|[=<>~])|(?P<bracket>[()])"""
    r"""|(?P<word>[^\s'"=!<>~()]+)""",
    re.DOTALL,
)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?%?", re.ASCII)
Lookup = Callable[[str], Any]
"""What a run says of a key: a number, a text, a truth value, a list of texts, or None where it says nothing."""


@dataclass(frozen=True)
class Comparison:
    """`KEY OPERATOR VALUE`; `quoted`: the value is text, whatever it looks like."""

    key: str
    operator: str
    value: str
    quoted: bool = False

    def matches(self, lookup: Lookup) -> bool:
        """Whether it holds for a run; without the key none does but `KEY=null`."""
        found = lookup(self.key)
        if self.value == "null" and not self.quoted:
            return {"=": found in (None, []), "!=": found not in (None, [])}.get(self.operator, False)
        return found is not None and _holds(found, self.operator, self.value)

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace("'", "\\'")
        return f"{self.key}{self.operator}" + (f"'{escaped}'" if self.quoted else self.value)


@dataclass(frozen=True)
class Not:
    """Holds where its part does not."""

    part: "Condition"

    def matches(self, lookup: Lookup) -> bool:
        """Whether it holds for a run."""
        return not self.part.matches(lookup)

    def __str__(self) -> str:
        return f"not {_within(self.part, And | Or)}"


@dataclass(frozen=True)
class And:
    """Holds where all parts do; two at least."""

    parts: tuple["Condition", ...]

    def matches(self, lookup: Lookup) -> bool:
        """Whether it holds for a run."""
        return all(part.matches(lookup) for part in self.parts)

    def __str__(self) -> str:
        return " and ".join(_within(part, And | Or) for part in self.parts)


@dataclass(frozen=True)
class Or:
    """Holds where one of its parts does; two at least."""

    parts: tuple["Condition", ...]

    def matches(self, lookup: Lookup) -> bool:
        """Whether it holds for a run."""
        return any(part.matches(lookup) for part in self.parts)

    def __str__(self) -> str:
        return " or ".join(_within(part, Or) for part in self.parts)


Condition = Comparison | Not | And | Or


def _within(part: Condition, looser: Any) -> str:
    return f"({part})" if isinstance(part, looser) else str(part)


def _holds(found: Any, operator: str, value: str) -> bool:
    if isinstance(found, list):
        texts = [write_value(item) for item in found]
        whole = value in texts or value == write_value(found)
        return {"=": whole, "!=": not whole, "~": any(_contains(text, value) for text in texts)}.get(operator, False)
    if operator == "~":
        return _contains(write_value(found), value)
    number = None if isinstance(found, str | bool) else number_in(value)
    known: Any = found if number is not None else write_value(found)
    given: Any = value if number is None else number
    if operator in ("=", "!="):
        return bool(known == given) is (operator == "=")
    if isinstance(found, bool) or (number is None and not isinstance(found, str)):
        return False
    return {"<": known < given, "<=": known <= given, ">": known > given, ">=": known >= given}[operator]


def _contains(text: str, part: str) -> bool:
    return part.casefold() in text.casefold()


def number_in(text: str) -> float | None:
    """The number that is written; `90%` is 0.9."""
    if not NUMBER.fullmatch(text):
        return None
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def comparisons(condition: Condition) -> Iterator[Comparison]:
    """Those that the condition is made of, from left to right."""
    if isinstance(condition, Comparison):
        yield condition
    else:
        for part in (condition.part,) if isinstance(condition, Not) else condition.parts:
            yield from comparisons(part)


def parse(text: str) -> Condition:
    """The condition that is written.

    Raises:
        ConfigError: with the place from which on it is none.
    """
    return _Parser(text).whole()


@dataclass(frozen=True)
class _Token:
    kind: str  # quoted, operator, bracket, word; "end" behind the last
    text: str
    place: int


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._depth = text, 0
        self._tokens = list(self._read())

    def _read(self) -> Iterator[_Token]:
        place = 0
        while place < len(self._text):
            found = TOKEN.match(self._text, place)
            if found is None:
                quote = self._text[place] in "'\""
                self._refuse(place, "is a quote that does not end" if quote else "is no operator", "quote text in ''")
            if (kind := str(found.lastgroup)) != "space":
                yield _Token(kind, found[0], place)
            place = found.end()
        yield _Token("end", "", place)

    def whole(self) -> Condition:
        condition = self._any()
        if self._tokens[0].kind != "end":
            self._refuse(self._tokens[0].place, "is too much", "join comparisons by and, or; put text in quotes")
        return condition

    def _any(self) -> Condition:
        parts = self._joined("or", self._all)
        return parts[0] if len(parts) == 1 else Or(parts)

    def _all(self) -> Condition:
        parts = self._joined("and", self._one)
        return parts[0] if len(parts) == 1 else And(parts)

    def _joined(self, word: str, read: Callable[[], Condition]) -> tuple[Condition, ...]:
        parts = [read()]
        while self._next_is(word):
            parts.append(read())
        return tuple(parts)

    def _one(self) -> Condition:
        place = self._tokens[0].place
        if not (negated := self._next_is("not")) and not self._next_is("("):
            return self._comparison()
        self._depth += 1
        if self._depth > DEEPEST:
            self._refuse(place, f"is within {DEEPEST} others", "write it flatter")
        if negated:
            condition: Condition = Not(self._one())
        else:
            condition = self._any()
            if not self._next_is(")"):
                self._refuse(self._tokens[0].place, "should be `)`", f"the `(` of character {place + 1} needs one")
        self._depth -= 1
        return condition

    def _comparison(self) -> Comparison:
        key = self._take("word", "a key", "as status, test_accuracy, optimizer.lr or tag")
        operator = self._take("operator", "an operator", f"one of {' '.join(OPERATORS)}")
        quoted = self._tokens[0].kind == "quoted"
        value = self._take("quoted" if quoted else "word", "a value", "a number, a word or text in quotes")
        if quoted:
            value = re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
        return Comparison(key, "=" if operator == "==" else operator, value, quoted)

    def _take(self, kind: str, what: str, kinds: str) -> str:
        token = self._tokens[0]
        if token.kind != kind or (kind == "word" and token.text.lower() in WORDS):
            self._refuse(token.place, f"should be {what}", kinds)
        return self._tokens.pop(0).text

    def _next_is(self, text: str) -> bool:
        token = self._tokens[0]
        found = token.kind in ("word", "bracket") and token.text.lower() == text
        if found:
            self._tokens.pop(0)
        return found

    def _refuse(self, place: int, what: str, cure: str) -> NoReturn:
        rest = self._text[place : place + 20]
        here = f"character {place + 1}, `{rest}`," if rest else "what follows the end"
        raise ConfigError(f"--where {' '.join(self._text.split())}: {here} {what}; {cure}")

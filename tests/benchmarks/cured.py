"""Whether an error cures a mistake. Strict: what it proposes is applied to the command line and composed."""

import functools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from cnnbench.config.compose import parse_options
from cnnbench.config.composition import compose_overrides, to_plain
from cnnbench.config.overrides import groups_of, refuse_mistakes
from cnnbench.config.run_config import check_config
from cnnbench.config.sweeping import every_job
from cnnbench.config.tables import GROUPS
from cnnbench.errors import CnnbenchError

FIRST = 2  # proposals that count: who is given more has to choose, which is not being told
OVERRIDE = r"(?:-m )?(?:'\+{0,2}[a-z_][\w./]*=[^']*'|\+{0,2}[a-z_][\w./]*=[^\s'?;]+)"
NEEDS_QUOTES = re.compile(r"[][{}()*?$&|<>~#! ]")
PLACEHOLDERS = {"VALUE", "CHOICE", "FOLDER", "NUMBER"}


@dataclass(frozen=True)
class Mistake:
    """What is typed after `cnnbench train`: first what is right, then what is wrong.

    Attributes:
        beside: overrides that are right.
        wrong: the words of the mistake.
        meant: one or more ways of saying it right, each the overrides to stand in the place of `wrong`; one without a
            value, as `optimizer.betas`, is said right by whatever sets that key.
    """

    beside: list[str]
    wrong: list[str]
    meant: tuple[tuple[str, ...], ...]

    @property
    def typed(self) -> list[str]:
        """The words after `cnnbench train`."""
        return [*self.beside, *self.wrong]


@functools.cache
def composed(*overrides: str) -> dict[str, Any] | None:
    """The config that these give, or None; as `compose`, but without the seconds it takes to say what is wrong."""
    try:
        return check_config(to_plain(compose_overrides(overrides))).as_dict()
    except (HydraException, OmegaConfBaseException, CnnbenchError):
        return None


def errors_of(typed: list[str]) -> tuple[str, ...]:
    """What `cnnbench train` says, and no more: without a mistake it would now begin to train."""
    try:
        options = parse_options(typed)
        refuse_mistakes(options.overrides, sweep=options.multirun)
    except CnnbenchError as error:
        return error.findings
    return ()


def is_mistake(mistake: Mistake) -> bool:
    """Whether it does not work as it stands, and what was meant does."""
    is_flag = any(text.startswith("-") for text in mistake.typed)
    works = not is_flag and composed(*mistake.typed) is not None and not errors_of(mistake.typed)
    exact = [list(way) for way in mistake.meant if "=" in way[-1]]
    return not works and all(_config(corrected(mistake, way)) for way in exact)


def proposals(finding: str, wrong: list[str]) -> Iterator[list[str]]:
    """The overrides that an error proposes in the place of the `wrong` words, whatever its wording; alternatives apart.

    `KEY=WORD: ...; did you mean 'OTHER'?` proposes KEY=OTHER. A list to choose from proposes nothing.
    """
    subject, _, said = finding.partition(": ")
    for found in re.finditer(rf"(?<![\w'=]){OVERRIDE}(?: {OVERRIDE})*|did you mean '([^'=]+)'", said):
        if found[1]:
            word, text = subject.partition("=")[2], " ".join(wrong)
            yield [re.sub(rf"(?<![\w.]){re.escape(word)}(?![\w.])", found[1], text)] if word else [found[1]]
        else:
            yield [text.rstrip(",.:") for text in _words(found[0])]


def _words(text: str) -> list[str]:
    """As a shell reads it, but for words that a shell would read otherwise than they stand there: these keep a quote,
    which nothing takes for a key."""
    words = []
    for word in re.findall(r"'[^']*'|\S+", text):
        words += shlex.split(word) if word[0] == "'" or not NEEDS_QUOTES.search(word) else [f"'{word}"]
    return words


def is_cured(mistake: Mistake, findings: tuple[str, ...]) -> bool:
    """Whether there is one error, all it proposes works, and one of its first proposals is what was meant."""
    if len(findings) != 1:
        return False
    ways = list(proposals(findings[0], mistake.wrong))
    works = [_config(corrected(mistake, way)) for way in ways]
    return None not in works and any(_is_meant(mistake, way) for way in ways[:FIRST])


def corrected(mistake: Mistake, way: list[str]) -> list[str]:
    """The command line with the proposal in the place of the mistake, and of what it chooses anew."""
    keys = {_key(text) for text in way}
    return [*(text for text in mistake.beside if _key(text) not in keys), *way]


def _is_meant(mistake: Mistake, way: list[str]) -> bool:
    for meant in mistake.meant:
        if _key(meant[-1]) not in map(_key, way):
            continue
        if "=" not in meant[-1] or _config(corrected(mistake, way)) == _config(corrected(mistake, list(meant))):
            return True
    return False


def _config(overrides: list[str]) -> Any:
    """All that these overrides give, of each job of a sweep; None where they give nothing. Of Hydra's own keys what is
    typed. A placeholder stands for what the key has, if there is such a key."""
    swept = "-m" in overrides
    texts = [text for text in overrides if text != "-m"]
    places = [text for text in texts if text.partition("=")[2] in PLACEHOLDERS]
    rest = [text for text in texts if text not in places]
    try:
        configs = [composed(*job) for job in (every_job(rest, groups_of(None)) if swept else [rest])]
    except CnnbenchError:
        return None
    if None in configs or not all(_has(config, _key(text)) for text in places for config in configs):
        return None
    return configs, sorted(text for text in texts if text.startswith("hydra.")), sorted(places)


def _has(config: dict[str, Any] | None, key: str) -> bool:
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            return key.startswith("hydra.") or key in GROUPS
        node = node[part]
    return True


def _key(text: str) -> str:
    return text.partition("=")[0].lstrip("+")

"""The words of a command line as overrides, and what is wrong with those that are none."""

import re
from collections.abc import Callable, Iterator, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from cnnbench.config.catalogue import Catalogue
from cnnbench.config.cures import cure_of_key, cure_of_pair, cure_of_word
from cnnbench.errors import first_line

KEY, SIGN, LONE = r"([A-Za-z_][\w./-]*)", r"(?::=|==|=|:)", r"([^-=:][^=]*)"  # LONE: a value, no flag, no override


def parse(words: Sequence[str], findings: list[str], catalogue: Callable[[], Catalogue]) -> Iterator[Override]:
    """What can be read of the words; appends to `findings` what cannot be, and only then asks for a `catalogue`."""
    parser = OverridesParser.create()
    at = 0
    while at < len(words):
        text, many = words[at], 1
        override, why = _read(parser, text)
        if apart := _apart(words[at : at + 3], is_whole=override is not None):
            key, value, many = apart
            cure = cure_of_pair(key, value, catalogue()) or cure_of_key(key, value, catalogue())
            findings.append(f"{' '.join(words[at : at + many])}: is no KEY=VALUE{cure}")
        elif re.fullmatch(r"\w[\w./-]*", text):
            following = " ".join(words[at + 1 : at + 2])
            paired = cure_of_pair(text, following, catalogue()) if re.fullmatch(LONE, following) else None
            many = 2 if paired else 1
            cure = paired or cure_of_word(text, catalogue())
            findings.append(f"{' '.join(words[at : at + many])}: is no KEY=VALUE{cure}")
        elif override is None:
            findings.append(
                f"{text}: cannot be read as KEY=VALUE ({why}); "
                f"a value with special characters needs quotes that reach cnnbench: 'KEY=\"VALUE\"'"
            )
        elif not override.key_or_group:
            findings.append(f"{text}: has no key; write KEY=VALUE")
        else:
            yield override
        at += many


def _read(parser: OverridesParser, text: str) -> tuple[Override | None, str]:
    try:
        return parser.parse_override(text), ""
    except HydraException as error:
        return None, first_line(error)


def _apart(words: Sequence[str], *, is_whole: bool) -> tuple[str, str, int] | None:
    """The key, the value and the number of words where an override is in pieces or has another sign: `lr = 0.1`,
    `lr= 0.1`, `lr : 0.1`, `lr: 0.1`, `lr:0.1`, `lr==0.1`, `model.kernel/size=3`; None where it has not."""
    one, two, three = (*words, "", "")[:3]
    for text, many in ((f"{one} {two} {three}", 3), (f"{one} {two}", 2), (one, 1)):
        if len(words) < many or (many == 3 and not re.fullmatch(SIGN, two)):
            continue
        if many == 1 and (is_whole or re.match(r"[^/=:]+=[^=\s]", one)):
            continue
        found = re.fullmatch(rf"{KEY}\s*{SIGN}\s*{LONE}", text)
        if found and (many != 2 or one[-1:] in "=:" or two[:1] in "=:"):
            return found[1], found[2], many
    return None

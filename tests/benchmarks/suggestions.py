"""How often an error names the cure: mistakes of many kinds made from the schema, and what is said of each.

    python tests/benchmarks/suggestions.py [--per-kind 50] [--seed 0] [--misses] [--seen]

A mistake is made from something right, so what was meant is known here, and here alone. It is cured (`cured.py`) where
there is one error for it, all that this proposes works in place of the mistake, and one of the first two proposals is
what was meant.
"""

import argparse
import random
from collections.abc import Iterator

from cured import Mistake, errors_of, is_cured, is_mistake
from made_mistakes import kinds
from schema import Schema

Said = tuple[Mistake, tuple[str, ...]]


def measure(per_kind: int, seed: int, *, held_out: bool = True) -> Iterator[tuple[str, int, list[Said]]]:
    """Of each kind how many different mistakes were tried, and those not cured with what was said."""
    schema = Schema()
    for kind, make in kinds(held_out=held_out).items():
        dice = random.Random(f"{seed} {kind}")
        tried: dict[tuple[str, ...], Mistake] = {}
        for _ in range(per_kind * 5):  # a kind may have fewer
            mistake = make(schema, dice)
            if len(tried) < per_kind and is_mistake(mistake):
                tried[tuple(mistake.typed)] = mistake
        said = [(mistake, errors_of(mistake.typed)) for mistake in tried.values()]
        yield kind, len(said), [(mistake, findings) for mistake, findings in said if not is_cured(mistake, findings)]


def main() -> None:
    """Prints the share that was cured, by kind."""
    parser = argparse.ArgumentParser(description="How often an error names the cure.")
    parser.add_argument("--per-kind", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--misses", action="store_true", help="show what was not cured")
    parser.add_argument("--seen", action="store_true", help="of other programs' words those that are not held out")
    options = parser.parse_args()
    tried = missed = 0
    for kind, count, misses in measure(options.per_kind, options.seed, held_out=not options.seen):
        tried, missed = tried + count, missed + len(misses)
        print(f"{kind:34}{1 - len(misses) / max(count, 1):7.1%}   of {count}", flush=True)
        for mistake, findings in misses if options.misses else ():
            meant = " or ".join(" ".join(way) for way in mistake.meant)
            print(f"    {' '.join(mistake.beside)} ! {' '.join(mistake.wrong)}  meant {meant}: {' | '.join(findings)}")
    print(f"{'all':34}{1 - missed / tried:7.1%}   of {tried}")


if __name__ == "__main__":
    main()

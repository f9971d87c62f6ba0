"""A sample of `suggestions.py`: a mistake of every kind is told with what was meant."""

from suggestions import measure

PER_KIND, AIM = 2, 0.95


def test_mistakes_of_every_kind_are_told_with_their_cure():
    missed = {kind: misses for kind, misses in measure(PER_KIND, seed=2) if misses}
    count = sum(map(len, missed.values()))
    kinds = len(dict(measure(0, seed=2)))
    assert kinds >= 10
    assert count <= (1 - AIM) * PER_KIND * kinds, missed

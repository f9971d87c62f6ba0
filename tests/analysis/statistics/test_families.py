"""Holm's adjustment."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnbench.analysis.statistics.families import holm


def test_holm_as_in_a_textbook():
    # In order 0.005, 0.01, 0.03, 0.04: 4 * 0.005, 3 * 0.01, 2 * 0.03, and 1 * 0.04 raised to the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, None, 0.7]) == [1.0, None, 1.0]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


@settings(deadline=None)
@given(st.lists(st.none() | st.floats(0, 1), max_size=10))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p_values):
    pairs = [pair for pair in zip(p_values, holm(p_values), strict=True) if None not in pair]
    assert [p is None for p in holm(p_values)] == [p is None for p in p_values]
    assert all(p <= adjusted <= min(1, len(pairs) * p) for p, adjusted in pairs)
    adjusted = [pair[1] for pair in sorted(pairs)]
    assert adjusted == sorted(adjusted)

"""The Pareto front, against its definition."""

from hypothesis import given
from hypothesis import strategies as st

from cnnbench.analysis.pareto import dominated


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5))))
def test_a_point_is_dominated_where_another_is_as_good_in_both_and_better_in_one(points):
    expected = [
        any(q >= quality and c <= cost and (q > quality or c < cost) for q, c in points) for quality, cost in points
    ]
    assert dominated(points) == expected

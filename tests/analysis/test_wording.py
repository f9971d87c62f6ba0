from cnnbench.analysis.wording import listed, plural, ranges, write_seeds_needed


def test_counts_and_seeds_are_written_as_people_do():
    assert [plural(count, "run") for count in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
    assert [listed(seeds) for seeds in ([3], [2, 0, 1], [0, 1, 3], [5, 1])] == ["3", "0 to 2", "0, 1, 3", "1, 5"]


def test_ranges_are_joined_and_gaps_kept():
    assert ranges([3, 0, 1, 2, 5, 8, 9]) == "0 to 3, 5, 8, 9"
    assert ranges([4]) == "4"


def test_where_there_are_as_many_seeds_as_mostly_decide_a_few_more_are_asked_for():
    assert write_seeds_needed(12, pairs=6) == "12"
    assert write_seeds_needed(6, pairs=6) == write_seeds_needed(6, pairs=8) == "a few more"

from cnnbench.speed.stopwatch import seconds_of, take_turns


def test_actions_take_turns_and_only_every_second_call_is_timed():
    calls = []
    times = take_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)
    assert calls == ["a", "a", "b", "b", "a", "a", "b", "b"]
    assert [len(seconds) for seconds in times.values()] == [2, 2]


def test_a_longer_action_takes_longer():
    assert seconds_of(lambda: sum(range(2_000_000))) > seconds_of(lambda: None) > 0

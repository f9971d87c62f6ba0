"""Conditions on runs: what is written is what is meant, and what is none is told with its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbench.analysis.where import DEEPEST, OPERATORS, And, Comparison, Not, Or, comparisons, parse
from cnnbench.errors import ConfigError

RUN = {
    "status": "finished",
    "test_accuracy": 0.91,
    "seed": 3,
    "config_hash": "1234567890123456",
    "run_id": "20260105T101010",
    "compile": False,
    "regularization": ["mixup", "ema"],
    "model.widths": [32, 64],
    "tag": [],
}


def holds(text):
    return parse(text).matches(RUN.get)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("status=finished", True),
        ("status == 'finished'", True),
        ("status!=finished", False),
        ("status~FINI", True),
        ("test_accuracy>0.9", True),
        ("test_accuracy>=9.1e-1 and test_accuracy<=0.910", True),
        ("test_accuracy>90% and test_accuracy<92%", True),
        ("test_accuracy<0.91", False),
        ("test_accuracy=high", False),
        ("test_accuracy!=high", True),
        ("test_accuracy>high", False),
        ("seed=3 and seed=3.0 and seed='3'", True),
        ("config_hash=1234567890123456", True),
        ("config_hash=1234567890123456.0", False),
        ("run_id>20260104 and run_id<20260106", True),
        ("compile=false and compile!=true and not compile<1", True),
        ("regularization=mixup and regularization=ema", True),
        ("regularization=mix", False),
        ("regularization~mix", True),
        ("regularization!=cutmix", True),
        ("regularization>mixup", False),
        ("model.widths=[32,64]", True),
        ("tag!=bad and tag=null", True),
        ("regularization=null", False),
        ("regularization!=null", True),
        ("nowhere=1 or nowhere!=1 or nowhere~1 or nowhere<1", False),
        ("nowhere=null", True),
        ("nowhere!=null", False),
        ("nowhere='null'", False),
        ("status=null", False),
        ("status!=null", True),
        ("status<null", False),
        ("not nowhere=1", True),
        ("seed=4 and seed=5 or seed=3", True),
        ("seed=3 or seed=4 and seed=5", True),
        ("(seed=3 or seed=4) and seed=5", False),
        ("not seed=4 and seed=3", True),
        ("not (seed=3 or seed=4)", False),
        ("NOT seed=4 AND NOT (seed=5 OR seed=6)", True),
    ],
)
def test_a_condition_holds_as_it_reads(text, expected):
    assert holds(text) is expected


def test_and_binds_tighter_than_or():
    a, b, c = (Comparison(key, "=", "1") for key in "abc")
    assert parse("a=1 or b=1 and not c=1") == Or((a, And((b, Not(c)))))
    assert parse("(a=1 or b==1) and c = 1") == And((Or((a, b)), c))
    assert [each.key for each in comparisons(parse("a=1 or (b=1 and not c=1)"))] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("", "what follows the end", "should be a key"),
        ("seed", "what follows the end", "should be an operator"),
        ("seed=", "what follows the end", "should be a value"),
        ("seed=1 test_accuracy>0.9", "character 8, `test_accuracy>0.9`", "is too much; join comparisons by and, or"),
        ("seed=1 and and", "character 12, `and`", "should be a key"),
        ("seed=and", "character 6, `and`", "should be a value"),
        ("(seed=1", "what follows the end", "should be `)`; the `(` of character 1 needs one"),
        ("seed=1)", "character 7, `)`", "is too much"),
        ("seed='1", "character 6, `'1`", "is a quote that does not end"),
        ("seed ! 1", "character 6, `! 1`", "is no operator"),
        ("seed=1=2", "character 7, `=2`", "is too much"),
        ("= 1", "character 1, `= 1`", "should be a key"),
        ("(" * 200 + "seed=1", f"character {DEEPEST + 1}", f"is within {DEEPEST} others"),
        ("not " * 5000 + "seed=1", f"character {4 * DEEPEST + 1}", f"is within {DEEPEST} others"),
    ],
)
def test_what_is_no_condition_is_one_line_with_the_place(text, place, what):
    with pytest.raises(ConfigError) as raised:
        parse(text)
    (line,) = raised.value.findings
    assert line.startswith(f"--where {text.strip()}: {place}")
    assert what in line
    assert "\n" not in line


def test_a_chain_of_thousands_is_read_and_asked():
    assert holds(" or ".join(["seed=4"] * 5000 + ["seed=3"]))


words = st.text("abcxyz._-0123456789/[],%é", min_size=1).filter(lambda w: w.lower() not in ("and", "or", "not"))
single = st.one_of(
    st.builds(Comparison, words, st.sampled_from([o for o in OPERATORS if o != "=="]), words),
    st.builds(Comparison, words, st.sampled_from([o for o in OPERATORS if o != "=="]), st.text(), st.just(True)),
)
conditions = st.recursive(
    single,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=12,
)


@given(conditions)
def test_a_condition_written_and_read_is_the_same(condition):
    assert parse(str(condition)) == condition


@given(conditions, st.dictionaries(st.sampled_from(["a", "b"]), st.one_of(st.integers(), st.text(), st.none())))
def test_a_condition_and_its_opposite_never_hold_together(condition, run):
    assert condition.matches(run.get) is not Not(condition).matches(run.get)


@given(st.one_of(st.text(), st.text("ab1.=!<>~()'\" \\", max_size=30)))
def test_no_text_raises_anything_but_a_config_error(text):
    try:
        condition = parse(text)
    except ConfigError:
        return
    assert parse(str(condition)) == condition


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.one_of(st.text(), st.integers()))
)


@given(VALUES, st.sampled_from([operator for operator in OPERATORS if operator != "=="]), st.text(), st.booleans())
def test_whatever_a_run_says_a_comparison_answers(found, operator, value, quoted):
    assert Comparison("key", operator, value, quoted).matches({"key": found}.get) in (True, False)

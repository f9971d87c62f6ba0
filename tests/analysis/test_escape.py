"""Text of unknown origin in TeX and Markdown."""

import pytest

from cnnbench.analysis.report.escape import markdown, tex


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 5 %", r"a\_b \& 5 \%"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("-0.03 to 2026-11-26", "$-$0.03 to 2026-{}11-{}26"),
        ("é 中", "é U+4E2D"),
        ("a\nb", "a b"),
        ("\u202e", r"\textbackslash{}u202e"),
    ],
)
def test_tex_prints_what_was_written(text, expected):
    assert tex(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", r"a\|b"),
        ("<b> & `c`", r"&lt;b&gt; &amp; \`c\`"),
        ("![x](http://y)", r"\!\[x\](http&#58;//y)"),
        ("a\n# b", r"a \# b"),
        ("@all", "&#64;all"),
    ],
)
def test_markdown_shows_what_was_written(text, expected):
    assert markdown(text) == expected

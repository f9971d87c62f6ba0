"""Text of unknown origin made harmless for Markdown and TeX. HTML is escaped by its templates."""

import re

from cnnbench.console import visible


class Ready(str):
    """Text that needs no escaping in any format."""


TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\char34{}", "`": r"\char96{}", "'": r"\char39{}", "-": "-{}", "\n": " ",
    "?": "?{}", "!": "!{}", ",": ",{}",
    "±": r"$\pm$", "×": r"$\times$", "−": r"$-$", "–": "{--}", "“": "``", "”": "''", "…": r"\dots{}", "≈": r"$\approx$",
    "→": r"$\to$", "✓": r"$+$", "✗": r"$-$",
}  # fmt: skip
MARKDOWN = {char: f"\\{char}" for char in "\\`*_[]{}|~#$!"} | {
    "&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", "\n": " "
}  # fmt: skip


def with_minus(text: str) -> str:
    """`text` with minus signs before its negative numbers, where it had hyphens."""
    return re.sub(r"(?<![\w.=/-])-(?=\d)", "−", text)


def tex(text: str) -> str:
    """`text` as LaTeX prints it, with any engine; characters beyond Latin-1 that have no command as `U+4E2D`."""
    return "".join(TEX.get(char) or _latin(char) for char in with_minus(visible(text, keep="\n")))


def _latin(char: str) -> str:
    is_known = char.isascii() or (ord(char) < 256 and char.isalpha() and char not in "ªº")
    return char if is_known else f"U+{ord(char):04X}"


def markdown(text: str) -> str:
    """`text` as Markdown shows it, on one line; no address in it becomes a link."""
    shown = "".join(MARKDOWN.get(char, char) for char in visible(text, keep="\n"))
    return shown.replace("://", "&#58;//").replace("www.", "www&#46;")

"""The commands that the documents print."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = ("cnnbench", "python", "python3", "pip", "bash", "eval", "pytest", "source", ".venv/bin/")


@dataclass(frozen=True)
class Printed:
    """A command of a document: the whole line with its comment, continuation lines joined."""

    document: str
    line: str

    @property
    def command(self) -> str:
        """The line without its comment."""
        return re.sub(r"\s+# .*", "", self.line).strip()


def printed_in(path: Path) -> list[Printed]:
    """The commands in the blocks of code of a Markdown file, and in its sentences and tables where they are more than
    the name of a verb, in their order."""
    text = re.sub(r"\\\n\s*", "", path.read_text(encoding="utf-8"))
    text = re.sub(r"^```(?:python|json|yaml|text)\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    found = []
    for line in text.splitlines():
        in_block = line.startswith("    ")
        texts = [line] if in_block else [span.replace("\\|", "|") for span in re.findall(r"`([^`]+)`", line)]
        commands = [text.strip() for text in texts if text.strip().startswith(PROGRAMS)]
        found += [Printed(path.name, command) for command in commands if in_block or command.count(" ") > 1]
    return found


def printed() -> list[Printed]:
    """The commands of all documents."""
    return [command for path in DOCUMENTS for command in printed_in(path)]

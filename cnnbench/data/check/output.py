"""The folder that a check leaves: findings.csv, findings.json, a contact sheet for each class, and a page of all."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cnnbench import __version__
from cnnbench.console import visible
from cnnbench.data.check.examine import Examined
from cnnbench.data.check.findings import KINDS, Finding
from cnnbench.data.check.sheets import data_uri, draw_sheet, draw_sheets, save_png, sheet_name
from cnnbench.disk import make_folder, write_atomically
from cnnbench.spreadsheet import to_csv

CSV, JSON, PAGE, SHEETS = "findings.csv", "findings.json", "index.html", "sheets"
COLUMNS = ("severity", "kind", "part", "class", "path", "other", "detail")
ON_PAGE = 24  # findings of a kind, with their images
SHEETS_ON_PAGE = 100


def write_check(folder: Path, examined: Examined, document: Mapping[str, Any], progress: Callable[[int], None]) -> None:
    """Writes everything into `folder`; `progress` is told of each class that is drawn.

    Raises:
        DiskError: it cannot be written.
    """
    make_folder(folder / SHEETS)
    write_atomically(folder / JSON, (json.dumps(document, indent=2) + "\n").encode())
    write_atomically(folder / CSV, findings_csv(examined))
    sheets = []
    for number, (name, sheet) in enumerate(draw_sheets(examined)):
        file = sheet_name(number, name)
        save_png(sheet, folder / SHEETS / file)
        counts = {part: classes[name] for part, classes in document["parts"].items()}
        shown = data_uri(sheet) if number < SHEETS_ON_PAGE else None
        sheets.append({"name": name, "file": file, "counts": counts, "image": shown, "width": sheet.width})
        progress(1)
    write_atomically(
        folder / PAGE, render(page_document(examined, document, sheets)).encode("utf-8", "backslashreplace")
    )


def findings_csv(examined: Examined) -> bytes:
    """A row for each finding."""
    found = examined.findings
    return to_csv(COLUMNS, [(f.severity, f.kind, f.part, f.label, f.path, f.other, f.detail) for f in found])


def page_document(examined: Examined, document: Mapping[str, Any], sheets: list[dict[str, Any]]) -> dict[str, Any]:
    """All that stands on the page."""
    kinds = []
    for kind, (severity, meaning) in KINDS.items():
        findings = [finding for finding in examined.findings if finding.kind == kind]
        if findings:
            rows = [_row(finding, examined.root) for finding in findings[:ON_PAGE]]
            kinds.append({"name": kind, "severity": severity, "meaning": meaning, "count": len(findings), "rows": rows})
    return {"version": __version__, "kinds": kinds, "sheets": sheets, "csv": CSV, **document}


def _row(finding: Finding, root: Path) -> dict[str, Any]:
    """A finding with its image, and the other's beside it."""
    paths = [path for path in (finding.path, finding.other) if path]
    shown = finding.kind not in ("unreadable", "folder", "ignored", "few images", "imbalance", "small range")
    return {
        "paths": [os.path.relpath(path, root) for path in paths],
        "where": " in ".join(filter(None, (finding.label, finding.part))),
        "detail": finding.detail,
        "image": data_uri(draw_sheet(paths)) if shown else None,
    }


def render(document: Mapping[str, Any]) -> str:
    """The page: text is escaped, with invisible characters spelled out."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    def spell_out(value: Any) -> Any:
        return visible(value, keep="\n") if isinstance(value, str) else value

    environment = Environment(
        loader=PackageLoader("cnnbench.data", "check"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=spell_out,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(document)

"""All that stands on the page of a report, and the page itself."""

import base64
import hashlib
from collections.abc import Callable
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from cnnbench import __version__
from cnnbench.analysis import plots
from cnnbench.analysis.comparison import Compared
from cnnbench.analysis.groups import Skipped
from cnnbench.analysis.machines import mixed_policies, remarks_on_times
from cnnbench.analysis.methods import how_judged
from cnnbench.analysis.metrics import metric_of
from cnnbench.analysis.report.escape import Ready, markdown, tex, with_minus
from cnnbench.analysis.report.gains import gains
from cnnbench.analysis.report.provenance import differing_settings, provenance, shared_settings
from cnnbench.analysis.report.sections import ThumbnailsOf, costs, gaps, learning, predictions, run_rows
from cnnbench.analysis.report.terms import name_groups, relative
from cnnbench.analysis.report.verdicts import forest, headline, reached, verdict_rows
from cnnbench.analysis.svg import ON_BLACK
from cnnbench.console import visible


def page_document(
    compared: Compared,
    folder: Path,
    *,
    today: date,
    thumbnails: ThumbnailsOf | None = None,
) -> dict[str, Any]:
    """All that stands on the page, as plain values and SVG; paths are relative to `folder`.

    `thumbnails` gives the pictures of the hardest images; without it there are none.
    """
    collection, comparisons, metric, margin = (
        compared.collection,
        compared.comparisons,
        compared.metric,
        compared.margin,
    )
    baseline = compared.baseline or collection.groups[0]
    scale = metric_of(metric)
    named = name_groups(collection.groups, baseline)
    best = max(collection.groups, key=lambda group: scale.sign * group.mean(metric))
    return {
        "version": __version__,
        "scale": scale,
        "margin": f"{margin * scale.factor:g} {scale.difference_unit}".rstrip(),
        "headline": headline(named, comparisons, scale),
        "verdicts": verdict_rows(named, baseline, comparisons, scale, metric),
        "reached": reached(baseline, metric) if len(named) == 1 else [],
        "some_diverged": any(group.diverged for group in collection.groups),
        "judged": how_judged(compared),
        "warnings": compared.warnings,
        "times": remarks_on_times(collection.groups, compared.baseline),
        "has_latency": any(group.numbers("latency_ms") for group in collection.groups),
        "marks": plots.VERDICT_MARKS,
        "forest": forest(named, comparisons, margin, scale),
        "learning": learning(named),
        "costs": costs(named, metric, scale),
        "gains": gains(named, comparisons, metric, scale, margin),
        "gaps": gaps(named),
        "predictions": predictions(named, [baseline] if best is baseline else [baseline, best], folder, thumbnails),
        "groups": [(each.number, each.name) for each in named],
        "settings": differing_settings(named),
        "shared": shared_settings(named),
        "provenance": provenance(named, scale, today),
        "mixed_policies": mixed_policies(collection.groups),
        "runs": run_rows(named, metric, scale, folder),
        "without_result": [(group.label, len(group.diverged)) for group in collection.without_result],
        "skipped": [skipped_row(skipped, folder) for skipped in collection.skipped],
        "on_black": ON_BLACK,
    }


def skipped_row(skipped: Skipped, folder: Path) -> tuple[str, str]:
    """A folder that does not count, and why."""
    shown = relative(skipped.path, folder)
    return shown, skipped.reason.replace(str(skipped.path), shown)


Format = Literal["html", "md", "tex"]


def render(document: dict[str, Any], form: Format = "html") -> str:
    """The report: the one place where text becomes markup, escaped, with invisible characters spelled out."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def spell_out(value: Any) -> Any:
        if not isinstance(value, str) or isinstance(value, Markup):
            return value
        return with_minus(visible(value, keep="\n"))

    def harmless(value: Any) -> str:
        return value if isinstance(value, Ready) else ESCAPES[form](str(value))

    environment = Environment(
        loader=PackageLoader("cnnbench.analysis", "report"),
        autoescape=form == "html",
        undefined=StrictUndefined,
        finalize=spell_out if form == "html" else harmless,
        trim_blocks=True,
        lstrip_blocks=True,
        **(TEX_MARKS if form == "tex" else {}),
    )
    script = resources.files("cnnbench.analysis.report").joinpath("sort.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(f"report.{form}.j2").render(document, script=script, script_sha256=digest)


ESCAPES: dict[str, Callable[[str], str]] = {"md": markdown, "tex": tex}
TEX_MARKS: Any = {
    "block_start_string": "<%", "block_end_string": "%>", "variable_start_string": "<<", "variable_end_string": ">>",
    "comment_start_string": "<#", "comment_end_string": "#>",
}  # fmt: skip

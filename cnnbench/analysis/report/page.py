"""All that stands on the page of a report, and the page itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnbench import __version__
from cnnbench.analysis import plots
from cnnbench.analysis.groups import Collection, Group, Skipped
from cnnbench.analysis.machines import mixed_policies
from cnnbench.analysis.metrics import metric_of
from cnnbench.analysis.report.sections import (
    MACHINE,
    costs,
    differing_settings,
    environments,
    gaps,
    learning,
    predictions,
    run_rows,
)
from cnnbench.analysis.report.terms import name_groups, relative
from cnnbench.analysis.report.verdicts import forest, headline, verdict_rows
from cnnbench.analysis.verdicts import Comparison
from cnnbench.console import visible


def page_document(
    collection: Collection,
    baseline: Group,
    comparisons: Sequence[Comparison],
    metric: str,
    margin: float,
    folder: Path,
) -> dict[str, Any]:
    """All that stands on the page, as plain values and SVG; paths are relative to `folder`."""
    scale = metric_of(metric)
    named = name_groups(collection.groups, baseline)
    best = max(collection.groups, key=lambda group: scale.sign * group.mean(metric))
    return {
        "version": __version__,
        "scale": scale,
        "margin": f"{margin * scale.factor:g} {scale.difference_unit}".rstrip(),
        "headline": headline(named, baseline, comparisons, scale),
        "verdicts": verdict_rows(named, baseline, comparisons, scale, metric),
        "has_latency": any(group.numbers("latency_ms") for group in collection.groups),
        "marks": plots.VERDICT_MARKS,
        "forest": forest(named, comparisons, margin, scale),
        "learning": learning(named),
        "costs": costs(named, metric, scale),
        "gaps": gaps(named),
        "predictions": predictions(named, [baseline] if best is baseline else [baseline, best], folder),
        "groups": [(each.number, each.label) for each in named],
        "settings": differing_settings(named),
        "machine": [key.replace("_", " ") for key in MACHINE],
        "environments": environments(named),
        "mixed_policies": mixed_policies(collection.groups),
        "runs": run_rows(named, metric, scale, folder),
        "skipped": [skipped_row(skipped, folder) for skipped in collection.skipped],
        "on_black": plots.ON_BLACK,
    }


def skipped_row(skipped: Skipped, folder: Path) -> tuple[str, str]:
    """A folder that does not count, and why."""
    shown = relative(skipped.path, folder)
    return shown, skipped.reason.replace(str(skipped.path), shown)


def render(document: dict[str, Any]) -> str:
    """The page: the one place where text becomes HTML, escaped, with invisible characters spelled out."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def spell_out(value: Any) -> Any:
        return visible(value, keep="\n") if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=PackageLoader("cnnbench.analysis", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=spell_out,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(document)

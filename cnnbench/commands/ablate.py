"""`cnnbench ablate`: trains a baseline with and without each technique over seeds, and shows what each changes."""

from argparse import RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from cnnbench.analysis.looked import look_at, warnings_of
from cnnbench.analysis.machines import mixed_policies
from cnnbench.analysis.metrics import margin_in, metric_of
from cnnbench.analysis.statistics.levels import FEWEST_PAIRS
from cnnbench.analysis.statistics.looks import level_of
from cnnbench.analysis.svg import standalone
from cnnbench.commands.arguments import Parser
from cnnbench.config.overrides import own_settings
from cnnbench.console import confirm, note, people_on_stderr, say, say_exactly, say_json, show_table
from cnnbench.disk import write_atomically
from cnnbench.errors import DataError, SweepError
from cnnbench.runs.looks import looks_at, note_look, read_looks
from cnnbench.sweeps.ablation_folder import Looks, Plan, PlannedRun, all_jobs, read_plan, unfinished, why_not_done
from cnnbench.sweeps.ablation_runs import Planned, Settings, plan_runs, train
from cnnbench.sweeps.effects import draw, effects_document, margin_for, markdown, measure_effects, read_groups, table
from cnnbench.sweeps.watch import spell_seconds

FIGURE = "forest.svg"
DESCRIPTION = """
Trains a baseline with and without each technique, over seeds, and shows what each technique changes: the difference
with its 95 % interval, p for all techniques together, a verdict, and what it costs in training time and latency. First
the plan is shown, with the time it will take. Called again with the same hydra.sweep.dir it goes on where it was
stopped.

its own keys, with their defaults:
  ablation=articles        a file of conf/ablation: a baseline and techniques (`cnnbench list ablation`)
  mode=add_one             add_one: the baseline with each | leave_one: all but each | pairs: also with every two
  seeds=8                  how many: 0, 1, ...; six at the least decide anything, of however many techniques
                           auto: added where a verdict is open, at looks fixed before (8, 14, 20), errors held
  most_seeds=20            with seeds=auto: how many at the most
  budget=2h                with seeds=auto: the time of all runs together (s, m, h, d); no limit without it
  'techniques=[A,B]'       only these of the file
  metric=test_accuracy     a number of summary.json
  margin=0.2               differences below it, in the unit of the table, have no practical effect (without one: 0.2
                           points of an accuracy, of anything else 2 % of the baseline's)
"""


def main(arguments: Sequence[str]) -> None:
    """Plans, asks, trains what is not done yet, and shows the effects; with --table only shows them."""
    parser = Parser("ablate", DESCRIPTION)
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for `cnnbench train`, for all runs")
    parser.add_argument("--table", type=Path, metavar="DIR", help="only show the effects in the folder of an ablation")
    parser.add_argument("--yes", action="store_true", help="start without asking; needed where nobody can be asked")
    parser.add_argument("--config-dir", metavar="PATH", help="a folder with groups of your own")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON document")
    output.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    options = parser.parse_intermixed_args(arguments)
    settings, overrides = own_settings(options.overrides, Settings)
    planned_anew = [text for text in options.overrides if not text.startswith(("metric=", "margin="))]
    if options.table and planned_anew:
        parser.error(f"{planned_anew[0]}: with --table only metric=KEY and margin=NUMBER can be given")
    failures: dict[str, str] = {}
    folder = options.table
    if not folder:
        with people_on_stderr() if options.json or options.markdown else nullcontext():
            planned = plan_runs(settings, overrides, options.config_dir, ["ablate", *arguments])
            folder = planned.folder
            show_plan(planned)
            if planned.jobs and not options.yes and not confirm("start?"):
                return
            failures = train(planned, show_look)
    with suppress(DataError) if failures else nullcontext():  # where all have failed there is nothing to show
        show(folder, settings, as_json=options.json, as_markdown=options.markdown)
    if failures:
        raise SweepError(*(f"{folder / name}: {reason}" for name, reason in failures.items()))


def show_plan(planned: Planned) -> None:
    """What will be trained, how long that takes, and whether so many seeds can decide anything."""
    plan, jobs, seconds = planned.plan, planned.jobs, planned.seconds
    (name, first), *others = plan.variants.items()
    say(f"{name}: {' '.join(first.overrides)}\n")
    rows = [(name, "", *cost(name, planned))]
    for name, variant in others:
        differing = sorted({*variant.techniques} ^ {*first.techniques}, key=list(plan.techniques).index)
        rows.append((name, " ".join(text for t in differing for text in plan.techniques[t]), *cost(name, planned)))
    show_table(("variant", "left out" if plan.mode == "leave_one" else "added", "runs", "a run"), rows)
    say()
    if done := planned.wanted - len(jobs):
        say(f"{done} of {planned.wanted} done already")
    if not jobs:
        return
    total = spell_seconds(sum(seconds[job.variant] for job in jobs))
    say(f"{len(jobs)} runs, about {total} one after the other, into {planned.folder}")
    if plan.looks:
        say(looks_ahead(plan.looks))
    elif len(plan.seeds) < FEWEST_PAIRS:
        note(f"seeds={len(plan.seeds)}: too few to show that a technique helps or hurts, it takes seeds={FEWEST_PAIRS}")


def looks_ahead(looks: Looks) -> str:
    """At how many seeds one will look, at which level, and what that costs at the most."""
    counts = ", ".join(map(str, looks.seeds))
    each = "" if len(looks.seeds) == 1 else " each"
    budget = "" if looks.budget_seconds is None else f", in {spell_seconds(looks.budget_seconds)} at the most"
    return (
        f"looks at {counts} seeds, at a level of {level_of(len(looks.seeds))}{each}; seeds go to what is open{budget}"
    )


def show_look(plan: Plan, jobs: Sequence[PlannedRun]) -> None:
    """What a look has shown, and what it asks for."""
    assert plan.looks
    taken = plan.looks.taken[-1]
    counts = Counter(taken["stands"].values())
    say(f"\nlook at {taken['seeds']} seeds: {', '.join(f'{count} {what}' for what, count in counts.most_common())}")
    say(f"{len(jobs)} more runs\n" if jobs else "no more runs")


def cost(name: str, planned: Planned) -> tuple[str, str]:
    """How many runs of a variant there are to do, and how long one takes."""
    runs = sum(job.variant == name for job in planned.jobs)
    return str(runs), f"{planned.seconds[name]:,.0f} s" if runs else ""


def show(folder: Path, settings: Settings, *, as_json: bool, as_markdown: bool) -> None:
    """The effects that the runs in the folder show, in the form asked for; draws them into the folder too."""
    plan = read_plan(folder)
    if plan.looks and not plan.looks.taken:
        note(f"not looked at yet: the first look is at {plan.looks.seeds[0]} seeds")
        return
    groups = read_groups(folder, plan, settings.metric)
    given = margin_in(f"margin={settings.margin}", settings.margin, settings.metric)
    margin = margin_for(plan, groups, settings.metric, given)
    effects = measure_effects(plan, groups, settings.metric, margin)
    write_atomically(folder / FIGURE, standalone(draw(effects, settings.metric, margin)).encode())
    columns, rows = table(effects, settings.metric)
    missing = why_not_done(folder, unfinished(folder, plan))
    if as_json:
        say_json(
            effects_document(plan, groups, effects, settings.metric, margin)
            | {"folder": str(folder), "missing": missing}
        )
        return
    if as_markdown:
        for line in markdown(columns, rows):
            say_exactly(line)
        return
    what = (
        "of each technique, with all others" if plan.mode == "leave_one" else "of each technique, added to the baseline"
    )
    unit = metric_of(settings.metric).difference_unit
    say(f"\nEffect on {settings.metric} {what}{f' ({unit})' if unit else ''}:\n")
    show_table(columns, rows)
    say(f"\nfigure: {folder / FIGURE}")
    say_exactly(f"ablation: {folder}")
    shown = [group for group in groups.values() if group.runs]
    for line in warnings_of(read_looks(looks_at([folder])), look_at(shown, settings.metric)) if not plan.looks else []:
        note(line)
    note_look(looks_at([folder]), look_at(shown, settings.metric))
    for line in mixed_policies([group for group in groups.values() if group.runs]):
        note(line)
    if missing:
        note(f"{len(missing)} of {len(all_jobs(plan))} runs are not finished and do not count")

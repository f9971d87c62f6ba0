"""On which machines and in which policies runs were made: seeds that differ in it vary by more than chance."""

from collections import Counter
from collections.abc import Sequence

from cnnbench.analysis.groups import Group, Run
from cnnbench.analysis.interleaving import MOST_READ, made, why_times_do_not_compare

ALWAYS, WHERE_DIFFERENT = ("device", "precision"), ("threads", "torch", "processor")


def policies_of(group: Group, named: Sequence[str] = ()) -> dict[str, int]:
    """By policy, as `cuda bf16`, how many of the runs have it, the most frequent first.

    Threads, the version of torch and the processor stand in it where the runs differ in them, or they are `named`.
    """
    differing = [key for key in WHERE_DIFFERENT if key in named or len(values_of(key, [group])) > 1]
    counts = Counter(policy_of(run, (*ALWAYS, *differing)) for run in group.runs)
    return dict(counts.most_common())


def values_of(key: str, groups: Sequence[Group]) -> set[str]:
    """What the runs of the groups have under the key of their summaries."""
    return {str(run.summary.get(key)) for group in groups for run in group.runs}


def policy_of(run: Run, keys: Sequence[str]) -> str:
    """`cpu fp32, threads 2, torch 2.14.1`, of what is known."""
    known = {key: run.summary[key] for key in keys if run.summary.get(key) is not None}
    main = " ".join(str(known[key]) for key in ALWAYS if key in known)
    return ", ".join([main, *(f"{key} {known[key]}" for key in WHERE_DIFFERENT if key in known)]) or "unknown"


def mixed_policies(groups: Sequence[Group]) -> list[str]:
    """A line for every group whose seeds were not all made in one policy: `LABEL: 4 runs cuda bf16, 4 cpu fp32`.

    Where each group has one, but not all the same, one line says so; of those that a compression made the policy is a
    part of what was done, and their speed was measured beside their parent's.
    """
    named = ["processor"] if len(values_of("processor", groups) - {"None"}) > 1 else []
    found = {group.label: policies_of(group, named) for group in groups}
    lines = [f"{label}: {spell_counts(policies)}" for label, policies in found.items() if len(policies) > 1]
    trained = {group.label: next(iter(found[group.label])) for group in groups if not group.numbers("speedup")}
    if not lines and len(set(trained.values())) > 1:
        shown = ", ".join(f"{label} {policy}" for label, policy in trained.items())
        lines = [f"the groups were not made in one policy, and their times do not compare: {shown}"]
    return lines


def spell_counts(policies: dict[str, int]) -> str:
    """`4 runs cuda bf16, 4 cpu fp32`."""
    first, *others = (f"{count} {policy}" for policy, count in policies.items())
    number, policy = first.split(" ", 1)
    return ", ".join([f"{number} run{'' if number == '1' else 's'} {policy}", *others])


def remarks_on_times(groups: Sequence[Group], baseline: Group | None) -> list[str]:
    """Why the times of the groups do not compare: made one after the other, side by side, or on a busy machine."""
    runs = sum(len(group.runs) for group in groups)
    found = {
        group.label: [
            known
            for run in group.runs
            if (known := made(run.summary, run.environment if runs <= MOST_READ else {})) is not None
        ]
        for group in groups
    }
    return why_times_do_not_compare(found, baseline.label if baseline else None)

"""Five lines for a comparison, and a paragraph for a paper."""

import json
import re

import pytest
from run_folders import CONFIG, make_run

from cnnbench.cli import run

NOISE = [0.001, -0.002, 0.003, 0.0, -0.001, 0.002, -0.003, 0.0015]


def sweep(folder, gains, seeds=range(8), **summary):
    for number, gain in enumerate(gains):
        config = {"optimizer": CONFIG["optimizer"] | {"lr": float(number)}}
        for seed in seeds:
            accuracy = 0.9 + gain + NOISE[(seed + 3 * number) % 8] + seed / 1000
            make_run(folder / f"{number}-{seed}", accuracy, seed=seed, config=config, run_id=f"{number}", **summary)
    return folder


def explained(capsys, folder, *arguments):
    assert run(["compare", str(folder), "--json", "--explain", *arguments]) == 0
    return [comparison["explanation"] for comparison in json.loads(capsys.readouterr().out)["comparisons"]]


def test_each_comparison_has_five_lines(tmp_path, capsys):
    for lines in explained(capsys, sweep(tmp_path, [0, 0.02, 0.0005])):
        assert [line.partition(":")[0] for line in lines] == ["measured", "chance", "margin", "failures", "verdict"]


def test_a_verdict_is_explained_by_its_numbers(tmp_path, capsys):
    helped, _ = explained(capsys, sweep(tmp_path, [0, 0.02, 0.0005]))
    assert "+2.00 points over 8 pairs of equal seeds, 95 % interval" in helped[0]
    assert "runs of equal seeds correlate by 0." in helped[0]
    assert helped[1] == "chance: p by sign flips is 0.0078 by itself, 0.0078 among 2 comparisons (step-down maximum)"
    assert "not within ± 0.2 points" in helped[2]
    assert "what fails in up to 31% of seeds can go unseen in 8" in helped[3]
    assert helped[4] == "verdict: helps"


def test_too_few_seeds_say_what_it_takes(tmp_path, capsys):
    ((_, chance, _, _, verdict),) = explained(capsys, sweep(tmp_path, [0, 0.004], seeds=range(3)))
    assert "cannot be below 0.25 with so few runs" in chance
    assert re.search(r"undecided; \d+ seeds would decide it", verdict)


def test_what_holds_a_verdict_back_is_said(tmp_path, capsys):
    sweep(tmp_path, [0, 0.02])
    for seed in range(8, 12):
        config = {"optimizer": CONFIG["optimizer"] | {"lr": 1.0}}
        make_run(tmp_path / f"d{seed}", None, seed=seed, config=config, status="failed", exit_code=3)
        make_run(tmp_path / f"a{seed}", 0.9, seed=seed, config={"optimizer": CONFIG["optimizer"] | {"lr": 0.0}})
    ((*_, failures, verdict),) = explained(capsys, tmp_path)
    assert "4 of 12 runs diverged, of the baseline 0 of 12" in failures
    assert "undecided; helps by the runs that finished" in verdict


def test_the_screen_shows_the_lines_below_the_table(tmp_path, capsys):
    assert run(["compare", str(sweep(tmp_path, [0, 0.02])), "--explain"]) == 0
    shown = capsys.readouterr().out
    assert "1  optimizer.lr=1.0, against 0:" in shown
    assert "  verdict: helps" in shown


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            [],
            [
                "step-down maximum over signs flipped jointly",
                "Verdicts are about the test images at hand",
                "± 0.2 points",
            ],
        ),
        (["--baseline", "optimizer.lr=2.0"], ["The baseline was chosen after the results were known"]),
    ],
)
def test_a_paper_has_a_paragraph_with_its_sources(tmp_path, capsys, arguments, expected):
    assert run(["compare", str(sweep(tmp_path, [0, 0.02, 0.0])), "--methods", *arguments]) == 0
    text, _, *sources = capsys.readouterr().out.splitlines()
    assert text.startswith("Each of 3 configurations was trained on digits with 8 random seeds [1]")
    for words in expected:
        assert words in text
    cited = {int(number) for number in re.findall(r"\[(\d+)\]", text)}
    assert [source.partition(" ")[0] for source in sources] == [f"[{number}]" for number in range(1, len(sources) + 1)]
    assert cited == set(range(1, len(sources) + 1))


def test_the_paragraph_names_failures_where_there_are_some(tmp_path, capsys):
    sweep(tmp_path, [0, 0.02])
    make_run(
        tmp_path / "d",
        None,
        seed=9,
        status="failed",
        exit_code=3,
        config={"optimizer": CONFIG["optimizer"] | {"lr": 1.0}},
    )
    assert run(["compare", str(tmp_path), "--json", "--methods"]) == 0
    text = json.loads(capsys.readouterr().out)["methods"][0]
    assert "Runs that diverged count as outcomes" in text

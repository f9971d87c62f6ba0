"""The report: what stands on the page, that nothing on it is code, and that it opens without the network."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from run_folders import make_run, save_predictions

from cnnbench.commands.report import main
from cnnbench.errors import ConfigError, DataError, DiskError
from cnnbench.runs.read import read_summary

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ENVIRONMENT = {"hostname": "bench-1", "python": "3.11.7", "torch": "2.14.1", "git_commit": "0123456789ab", "cores": 2}
LABELS = np.arange(40) % 4


def add_files(path, *, wrong=4, environment=ENVIRONMENT, epochs=5):
    """What a run leaves beside summary and config: metrics, environment, predictions of which the first are wrong."""
    lines = [
        {"epoch": e, "train_loss": 2 / e, "val_loss": 3 / e, "val_accuracy": 0.9 - 0.3 / e}
        for e in range(1, epochs + 1)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (path / "environment.json").write_text(json.dumps(environment))
    answers = np.where(np.arange(len(LABELS)) < wrong, (LABELS + 1) % 4, LABELS)
    save_predictions(path, np.eye(4)[answers] * 5, LABELS)
    return path


def make_group(folder, name, accuracy, *, seeds=range(6), config=None, wrong=4, **summary):
    """A run of each seed with all its files; seeds differ by thousandths, in the same way in every group."""
    facts = {"train_val_gap": 0.02, "macs": 449536, "model_bytes": 622120, **summary}
    for seed in seeds:
        value = accuracy + 0.001 * (seed % 3) + 0.0001 * seed * len(name)
        add_files(make_run(folder / f"{name}-{seed}", value, seed=seed, config=config, **facts), wrong=wrong)


def adam(**values):
    return {"optimizer": {"name": "adam", **values}}


@pytest.fixture
def runs(tmp_path):
    """A baseline and one group that is better on every seed, slower and larger."""
    make_group(tmp_path / "runs", "base", 0.90)
    make_group(tmp_path / "runs", "adam", 0.93, config=adam(lr=0.001), wrong=2, train_seconds=15.0, macs=900000)
    return tmp_path / "runs"


def report(folder, *arguments):
    page = folder.parent / "report.html"
    main([str(folder), "-o", str(page), *map(str, arguments)])
    return page.read_text(encoding="utf-8")


class Page(HTMLParser):
    """The elements with their attributes, and the text of the page without its styles."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.words, self._open = [], [], []
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        self._open.append(f"/{tag}")

    def handle_data(self, data):
        if not self._open or self._open[-1] not in ("style", "script"):
            self.words.append(data)

    def tags(self):
        return {tag for tag, _ in self.elements}


def test_the_headline_and_the_first_table_say_what_came_out(runs):
    text = Page(report(runs)).text
    assert "2 groups of 12 runs on digits (6 seeds: 0 to 5), by test accuracy" in text
    assert "Verdicts: 1 helps." in text
    assert text.index("Differences to the baseline") < text.index("✓ +3.00") < text.index("✓ helps +3.00")
    assert "+3.00 +3.00 to +3.00" in text
    assert "1.50x [1.50, 1.50]" in text
    assert "0.031 at least 0.031" in text


def test_too_few_seeds_are_undecided_and_the_seeds_needed_are_named(tmp_path):
    make_group(tmp_path / "runs", "base", 0.90, seeds=range(3))
    make_group(tmp_path / "runs", "other", 0.93, seeds=range(3), config=adam())
    text = Page(report(tmp_path / "runs")).text
    assert "? undecided +3.0" in text
    assert "at least 0.25" in text


def test_every_number_can_be_traced_to_its_run_by_a_relative_path(runs):
    page = report(runs)
    text = Page(page).text
    for path in sorted(runs.iterdir()):
        assert f"runs/{path.name} {read_summary(path)['seed']} finished" in text
    assert str(runs.parent) not in page


def test_folders_that_do_not_count_are_named_with_their_reason(runs):
    make_run(runs / "dead", status="failed", error="the loss became NaN in step 7")
    text = Page(report(runs)).text
    assert "runs/dead failed: the loss became NaN in step 7" in text
    assert str(runs) not in text


def test_the_baseline_can_be_chosen_and_is_number_0(runs):
    page = Page(report(runs, "--baseline", "optimizer=adam"))
    assert "✗ hurts" in page.text
    assert "0 optimizer=adam baseline" in page.text


def test_a_metric_of_which_less_is_better_turns_the_verdict(runs):
    for path in runs.iterdir():
        value = 9.0 if path.name.startswith("base") else 12.0
        summary = read_summary(path) | {"train_seconds": value + 0.01 * read_summary(path)["seed"]}
        (path / "summary.json").write_text(json.dumps(summary))
    text = Page(report(runs, "--metric", "train_seconds", "--margin", "0.5")).text
    assert "✗ hurts" in text
    assert "Less is better" in text
    assert "within ± 0.5 s." in text


def test_dominated_groups_are_marked(runs):
    make_group(runs, "worse", 0.89, config={"batch_size": 8}, train_seconds=20.0)
    text = Page(report(runs)).text
    assert "batch_size=8 20 dominated" in text
    assert "optimizer=adam 15 front" in text


def test_latency_is_shown_where_runs_have_it(runs):
    assert "latency" not in Page(report(runs)).text
    for path in runs.iterdir():
        latency = 2.0 if path.name.startswith("base") else 1.0
        (path / "summary.json").write_text(json.dumps(read_summary(path) | {"latency_ms": latency}))
    text = Page(report(runs)).text
    assert "0.50x [0.50, 0.50]" in text
    assert "latency, ms" in text


def test_the_hardest_images_are_those_that_all_runs_miss(runs):
    text = Page(report(runs)).text
    assert (
        "0 , not 1 image 0: 12 of 12 wrong 1 , not 2 image 1: 12 of 12 wrong 2 , not 3 image 2: 6 of 12 wrong" in text
    )
    assert "95.00 % of the test images are right when 6 runs answer together" in text


def test_damaged_files_are_left_out_and_said(runs):
    (runs / "adam-2" / "predictions.npz").write_bytes(b"PK not really")
    (runs / "adam-3" / "metrics.jsonl").write_bytes(b"{damaged\n")
    (runs / "adam-4" / "environment.json").write_bytes(b"[")
    save_predictions(runs / "adam-5", np.eye(4)[LABELS][:8], LABELS[:8])
    text = Page(report(runs)).text
    assert "runs/adam-2: predictions.npz is missing or damaged" in text
    assert "runs/adam-5: predictions.npz is of other test images" in text
    assert "group 1, seed 3: metrics.jsonl is damaged" in text
    assert "11 of 12" not in text
    assert "10 of 10" in text


def test_runs_without_any_other_file_give_a_page(tmp_path):
    make_run(tmp_path / "runs" / "a", train_seconds=None, parameters=None)
    text = Page(report(tmp_path / "runs")).text
    assert "One group of 1 run on digits (1 seed: 0): there is nothing to compare it with." in text


def test_groups_without_a_common_seed_are_undecided(tmp_path):
    make_group(tmp_path / "runs", "base", 0.90, seeds=[0, 1])
    make_group(tmp_path / "runs", "other", 0.93, seeds=[2, 3], config=adam())
    text = Page(report(tmp_path / "runs")).text
    assert "? undecided seeds do not match: compared unpaired +3." in text


def test_settings_and_machines_that_differ_are_listed(runs):
    add_files(runs / "adam-0", environment=ENVIRONMENT | {"hostname": "bench-2"})
    text = Page(report(runs)).text
    assert "optimizer sgd 0 optimizer adam 1" in text
    assert "bench-2" in text
    assert "Runs of different machines or versions" in text


def test_groups_beyond_the_colours_are_said_to_be_left_out_of_the_curves(tmp_path):
    for width in range(1, 11):
        make_group(tmp_path / "runs", f"w{width}", 0.9, seeds=[0], config={"batch_size": width})
    assert "Not drawn: groups 8, 9." in Page(report(tmp_path / "runs")).text


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[/] [bold] {{ 7 * 7 }} {% raw %}",
    "\x1b[31mred\x07",
    "=cmd()|' /C calc'!A0",
    "\u202egnp.exe\u2066",
    "$\\input{/etc/passwd}$ & ]]>",
    '" onload="alert(1)',
    "</style><style>*{display:none}",
]


def hostile_runs(folder, text, name):
    """The same runs with `text` wherever a file of a run can put one."""
    config = {"optimizer": {"name": text, text: text}, "regularization": {text: {"p": text}}}
    for seed in range(2):
        add_files(make_run(folder / f"a{seed}", seed=seed, data=text))
        path = make_run(folder / f"{name}{seed}", 0.8, seed=seed, config=config, data=text, model=text)
        add_files(path, environment=dict.fromkeys(ENVIRONMENT, text))
    make_run(folder / f"{name}-failed", status="failed", error=text)
    return folder


def structure(page):
    """The elements with the names of their attributes, but for the lines into which a figure breaks its labels."""
    return [(tag, sorted(attributes)) for tag, attributes in page.elements if tag not in ("g", "text")]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_run_folder_becomes_markup(tmp_path, text):
    name = text.replace("/", "∕")
    page = Page(report(hostile_runs(tmp_path / "hostile", text, name)))
    plain = Page(report(hostile_runs(tmp_path / "plain", "plain", "plain")))
    assert page.tags() == plain.tags()
    assert structure(page) == structure(plain)


def test_what_cannot_be_seen_is_spelled_out(tmp_path):
    page = report(hostile_runs(tmp_path / "runs", "\x1b[31m\u202e", "b"))
    assert "\\x1b[31m\\u202e" in page
    assert not {"\x1b", "\u202e"} & set(page)


def test_the_page_loads_nothing_and_runs_its_own_script_alone(runs):
    text = report(runs)
    page = Page(text)
    assert page.tags().isdisjoint({"link", "iframe", "object", "embed", "base", "form", "a", "img"})
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "xlink:href", "src"):
            assert attributes.get(name, "#").startswith("#")
    policy = next(a["content"] for t, a in page.elements if t == "meta" and a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.split("script-src ")[1].startswith(f"'sha256-{digest}';")
    assert "unsafe" not in policy.replace("style-src 'unsafe-inline'", "")


def test_the_page_can_be_read_without_seeing_it(runs):
    page = Page(report(runs))
    assert ("html", {"lang": "en"}) in page.elements
    assert {"title", "main", "h1", "h2"} <= page.tags()
    assert all(a.get("scope") in ("row", "col") for t, a in page.elements if t == "th")
    images = [a for _, a in page.elements if a.get("role") == "img"]
    assert all(a["aria-label"] for a in images)
    figures = [t for t, a in page.elements if t == "svg" and "aria-hidden" not in a]
    assert len(images) == len(figures) >= 7


def test_no_id_stands_twice(runs):
    ids = re.findall(r' id="([^"]*)"', report(runs))
    assert len(ids) == len(set(ids))


def test_the_same_runs_give_the_same_page(runs):
    assert report(runs) == report(runs)


def test_fifty_runs_take_less_than_two_megabytes(tmp_path):
    make_group(tmp_path / "runs", "base", 0.90, seeds=range(25))
    make_group(tmp_path / "runs", "adam", 0.93, seeds=range(25), config=adam())
    for path in (tmp_path / "runs").iterdir():
        add_files(path, epochs=1000)
    assert len(report(tmp_path / "runs").encode()) < 2_000_000


def test_an_old_report_is_replaced_and_its_path_printed(runs, cnnbench):
    page = runs.parent / "out.html"
    page.write_text("old")
    assert cnnbench("report", runs, "-o", page)[:2] == (0, f"report: {page}\n")
    assert page.read_text().startswith("<!doctype html>")
    assert cnnbench("report", runs)[:2] == (0, "report: report.html\n")


@pytest.mark.parametrize("output", ["", "runs", "missing/report.html"])
def test_an_output_that_cannot_be_written_is_one_line(runs, output):
    with pytest.raises(DiskError, match="--output"):
        main([str(runs), "-o", str(runs.parent / output)])


def test_mistakes_are_one_line(runs):
    with pytest.raises(ConfigError, match="--margin -1"):
        main([str(runs), "--margin", "-1"])
    with pytest.raises(ConfigError, match="no such group"):
        main([str(runs), "--baseline", "optimizer=nothing"])
    with pytest.raises(DataError, match="no such folder"):
        main([str(runs / "nothing")])


def open_in_browser(page, folder):
    """What Chromium makes of a page without a network: its text, errors of the console, and addresses it asked for.

    Without those of the browser's maker, whose services the browser itself asks.
    """
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += ["--no-first-run", f"--user-data-dir={folder / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command += [f"--log-net-log={folder / 'net.json'}", "--enable-logging=stderr", "--v=0", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | {"HOME": str(folder)})
    assert done.returncode == 0, done.stderr
    errors = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    addresses = set(re.findall(r'"url":"(https?://[^"]*)"', (folder / "net.json").read_text()))
    own = re.compile(r"https?://[\w.-]*\.(google|googleapis|gvt1)\.com/")
    return done.stdout, errors, {address for address in addresses if not own.match(address)}


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_shows_it_without_an_error_or_a_request(runs, tmp_path):
    report(runs)
    text, errors, addresses = open_in_browser(tmp_path / "report.html", tmp_path)
    assert "What the runs show" in text
    assert '<button type="button">verdict</button>' in text
    assert (errors, addresses) == ([], set())


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_browser_test_sees_errors_and_requests(tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<!doctype html><img src="http://example.invalid/x.png"><script>console.error("seen")</script>')
    _, errors, addresses = open_in_browser(page, tmp_path)
    assert "seen" in errors[0]
    assert addresses == {"http://example.invalid/x.png"}


def write_plan(runs, **prefixes):
    """ablation.json beside runs: a name for the group of each folder."""
    hashes = {name: read_summary(runs / folder)["group_hash"] for name, folder in prefixes.items()}
    variants = {name: {"techniques": [], "overrides": [], "group_hash": found} for name, found in hashes.items()}
    (runs / "ablation.json").write_text(json.dumps({"format": 1, "variants": variants}))


def test_groups_of_an_ablation_are_called_by_their_technique(runs):
    write_plan(runs, baseline="base-0", adaptive_steps="adam-0")
    text = Page(report(runs)).text
    assert "named by their technique" in text
    assert "against “baseline”" in text
    assert "1 adaptive_steps optimizer=adam ✓ helps" in text
    assert "adaptive_steps" in text[: text.index("Mean difference and")]


@pytest.mark.parametrize("plan", ["[", "[]", "{}", '{"variants": []}', '{"variants": {"a": 3}}', "null"])
def test_a_plan_that_cannot_be_read_names_nothing(runs, plan):
    (runs / "ablation.json").write_text(plan)
    assert "1 optimizer=adam ✓ helps" in Page(report(runs)).text


def test_a_baseline_that_differs_in_much_is_called_so(tmp_path):
    make_group(tmp_path / "runs", "base", 0.9, seeds=[0])
    for key in ("batch_size", "epochs", "select", "test_time_augmentation"):
        make_group(tmp_path / "runs", key, 0.9, seeds=[0], config={key: 7})
    assert "against “baseline”" in Page(report(tmp_path / "runs")).text


def test_a_single_group_has_its_numbers_and_no_table_of_verdicts(tmp_path):
    make_group(tmp_path / "runs", "base", 0.9, seeds=[0])
    text = Page(report(tmp_path / "runs")).text
    assert "What was reached test accuracy, % 90.00" in text
    assert "multiply-adds per image 449,536" in text
    assert not [word for word in ("Verdicts", "Holm", "Differences", "Front", "share") if word in text]


def test_settings_that_all_share_the_days_the_command_and_a_citation_are_there(runs):
    environment = ENVIRONMENT | {"command": "cnnbench ablate x=1", "started": "2026-11-03T10:00:00+00:00"}
    for path in runs.iterdir():
        add_files(path, environment=environment)
    text = Page(report(runs)).text
    assert "batch_size=64" in text
    assert "optimizer.momentum=0.9" not in text[text.index("all groups share") :]
    assert "Runs of 2026-11-03; report of" in text
    assert text.count("cnnbench ablate x=1") == 1
    assert "title = {cnnbench report: test accuracy of 2 groups}" in text
    assert "commit 0123456789ab" in text


@pytest.mark.parametrize("ending", ["md", "tex"])
def test_a_paper_has_the_numbers_of_the_page(runs, ending):
    target = runs.parent / f"tables.{ending}"
    main([str(runs), "-o", str(target)])
    tables, page = target.read_text(), Page(report(runs)).text
    mean = re.search(r"helps \+3\.\d\d .*? (9\d\.\d\d ± 0\.\d\d)", page)[1]
    tables = tables.replace("$\\pm$", "±")
    for number in (mean, "+3.00 to +3.00", "0.031", "helps"):
        assert number in page
        assert number in tables


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_is_markup_in_a_paper(tmp_path, text):
    hostile_runs(tmp_path / "runs", text, "b")
    found = {}
    for form in ("md", "tex"):
        main([str(tmp_path / "runs"), "--format", form, "-o", str(tmp_path / form)])
        found[form] = (tmp_path / form).read_text()
    assert not re.search(r"(?<!\\)[<`]|!\[|https?://", found["md"].partition("```bibtex")[0])
    lines = [line for line in found["tex"].splitlines() if not line.startswith("%")]
    commands = set(re.findall(r"\\([a-zA-Z]+)", "\n".join(lines)))
    assert commands <= TEX_COMMANDS
    assert len({line.count(" & ") for line in lines if line.startswith("{}")}) <= 2
    assert not {"\x1b", "\u202e"} & set("".join(found.values()))
    if shutil.which("pdflatex"):
        compile_tables(tmp_path, found["tex"])


TEX_COMMANDS = {
    "begin", "end", "centering", "caption", "small", "toprule", "midrule", "bottomrule", "pm", "times", "to", "dots",
    "approx", "char", "textbackslash", "textless", "textgreater", "textbar", "textasciitilde", "textasciicircum",
}  # fmt: skip


def compile_tables(folder, tables):
    """What a paper does with the tables."""
    (folder / "tables.tex").write_text(tables)
    (folder / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{tables}\\end{document}"
    )
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_heading_sorts_its_column_and_says_so(runs, tmp_path):
    make_group(runs, "worse", 0.80, config={"batch_size": 8})
    page = tmp_path / "report.html"
    report(runs)
    click = "for (let i = 0; i < 2; i++) document.querySelectorAll('th button')[4].click();"
    page.write_text(re.sub("script-src '[^']*'", "script-src 'unsafe-inline'", page.read_text()) + click_script(click))
    dom, errors, _ = open_in_browser(page, tmp_path)
    assert errors == []
    assert 'aria-sort="descending"' in dom
    rows = re.findall(r'<tr>\s*<td>(\d)</td><th scope="row" class="label">', dom)
    assert rows[:3] == ["1", "0", "2"]


def click_script(code):
    """A script that a test adds to a page."""
    return f"<script>{code}</script>"


def test_a_report_of_runs_without_days_says_no_empty_ones(runs):
    text = Page(report(runs)).text
    assert "Report of" in text
    assert "Runs of –" not in text


def test_a_long_name_of_a_data_set_does_not_fill_the_page(tmp_path):
    add_files(make_run(tmp_path / "runs" / "a", data="d" * 500))
    assert len(Page(report(tmp_path / "runs")).text.partition("there is nothing")[0]) < 400

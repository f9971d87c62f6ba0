import csv
import json

from cnnbench.errors import Interrupted


def rows_of(run):
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def lines_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_row_holds_what_the_line_of_its_epoch_does(train):
    run = train("run", "logging=[csv]")
    rows, lines = rows_of(run), lines_of(run)
    assert len(rows) == len(lines) == 3
    for row, line in zip(rows, lines, strict=True):
        norms = {f"gradient_norms/{name}": value for name, value in line.pop("gradient_norms").items()}
        assert norms
        assert {name: float(value) for name, value in row.items()} == line | norms


def test_columns_may_appear_later_and_what_is_null_is_empty(tmp_path, train):
    from cnnbench.trackers.metrics_csv import MetricsCsv

    lines = ['{"epoch": 1, "val_loss": null}', '{"epoch": 2, "val_loss": 0.5, "sparsity": 0.1, "b": {"x,y": 3}}']
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    MetricsCsv(tmp_path).log_epoch({})
    assert rows_of(tmp_path) == [
        {"epoch": "1", "val_loss": "", "sparsity": "", "b/x,y": ""},
        {"epoch": "2", "val_loss": "0.5", "sparsity": "0.1", "b/x,y": "3"},
    ]


def test_an_epoch_that_is_trained_anew_has_one_row(train, ending, cnnbench):
    with ending(2, Interrupted(15)):
        run = train("run", "logging=[csv]", exit_code=143)
    assert [row["epoch"] for row in rows_of(run)] == ["1", "2"]
    assert cnnbench("resume", run)[0] == 0
    assert [(row["epoch"], float(row["seconds"])) for row in rows_of(run)] == [
        (str(line["epoch"]), line["seconds"]) for line in lines_of(run)
    ]

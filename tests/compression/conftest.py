import pytest

from cnnbench.speed import clock


@pytest.fixture
def quick_clock(monkeypatch):
    """Times hardly anything, and compiles nothing: for tests of everything else."""
    monkeypatch.setattr(clock, "FEWEST_ROUNDS", 2)
    monkeypatch.setattr(clock, "SECONDS", 0.0)
    monkeypatch.setattr(clock, "compiled", lambda model, images: model)


@pytest.fixture
def parent(train, quick_clock):
    """A finished tiny run with norms, in float32."""
    return train("parent", "model=deep", "model.widths=[8,16]", "model.hidden=16", "data.image_shape=[1,12,12]")


@pytest.fixture
def compress(cnnbench, tmp_path):
    """Compresses a run into `tmp_path / name`; gives back that folder after checking the exit code."""

    def run(run, name, *overrides, exit_code=0):
        path = tmp_path / name
        result = cnnbench("compress", run, *overrides, f"hydra.run.dir='{path}'")
        assert result[0] == exit_code, result
        return path

    return run

from contextlib import contextmanager

import pytest

from cnnbench.recorder import epoch_parts


@pytest.fixture
def ending(monkeypatch):
    """Ends a run by an error when an epoch is written and told, but not yet saved: a resume cuts it again."""

    @contextmanager
    def end(epoch, error):
        def parts(metrics, epochs):
            if metrics["epoch"] == epoch:
                raise error
            return epoch_parts(metrics, epochs)

        with monkeypatch.context() as patched:
            patched.setattr("cnnbench.recorder.epoch_parts", parts)
            yield

    return end

"""Everything a run can end with that is not a bug of ours: one class per exit code, one line per finding."""


class CnnbenchError(Exception):
    """An expected failure. `findings` holds one line each: `<key or path>: <what>; <fix>`."""

    exit_code = 1

    def __init__(self, *findings: str) -> None:
        super().__init__("\n".join(findings))
        self.findings = findings


class ConfigError(CnnbenchError):
    """The user's configuration or command line is wrong."""

    exit_code = 2


class DivergedError(CnnbenchError):
    """The loss became NaN or infinite."""

    exit_code = 3


class OutOfMemoryError(CnnbenchError):
    """The device has no memory left for a batch of this size."""

    exit_code = 4


class SweepError(CnnbenchError):
    """The sweep finished, but some of its jobs failed."""

    exit_code = 5


class DataError(CnnbenchError):
    """A data set, an image or a run folder does not hold what it should."""

    exit_code = 65


class CheckpointError(CnnbenchError):
    """A checkpoint is damaged, or belongs to another model."""

    exit_code = 65


class UnavailableError(CnnbenchError):
    """A device, a precision or an optional package is missing on this machine."""

    exit_code = 69


class DiskError(CnnbenchError):
    """The disk is full, read-only or failing."""

    exit_code = 74


class RunInUseError(CnnbenchError):
    """Another process holds the run folder."""

    exit_code = 75


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to stop; `exit_code` is 128 + its number.

    No failure: what handles failures, ours or a library's, lets it pass.
    """

    def __init__(self, signal_number: int, *findings: str) -> None:
        super().__init__(signal_number, *findings)  # all of them, for a sweep's worker process sends it by pickle
        self.signal_number = signal_number
        self.findings = findings
        self.exit_code = 128 + signal_number

    def __str__(self) -> str:
        return "\n".join(self.findings)


def first_line(error: BaseException) -> str:
    """The part of another library's message that says what is wrong; its advice is for other programs."""
    return (str(error).splitlines() or [type(error).__name__])[0]

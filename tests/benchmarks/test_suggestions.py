"""A sample of `suggestions.py`, and that its judge can say no."""

import pytest
from cured import Mistake, is_cured, proposals
from made_mistakes import kinds
from suggestions import measure

MOMENTUM = Mistake([], ["optimizer.momentum=0.8"], (("optimizer=sgd", "optimizer.momentum=0.8"),))
CHOICE = Mistake([], ["device=cpuu"], (("device=cpu",),))
LIST = Mistake(["regularization=[ema]"], ["regularization.mixup.alpha=0.4"],
               (("regularization=[ema,mixup]", "regularization.mixup.alpha=0.4"),))  # fmt: skip

CURES = [
    (MOMENTUM, "optimizer.momentum: unknown key; write optimizer=sgd optimizer.momentum=0.8"),
    (CHOICE, "device=cpuu: no such device; did you mean 'cpu'? Choose from auto, cpu, cuda, mps"),
    (CHOICE, "device=cpuu: no such device; try device=cuda or device=cpu"),
    (LIST, "regularization.mixup.alpha: unknown; write 'regularization=[ema,mixup]' regularization.mixup.alpha=0.4"),
]
NO_CURES = {
    "nothing said": (CHOICE, ""),
    "a list to choose from": (CHOICE, "device=cpuu: no such device; choose from auto, cpu, cuda, mps"),
    "another choice": (CHOICE, "device=cpuu: no such device; did you mean 'cuda'? Choose from auto, cpu, cuda, mps"),
    "the third of three": (CHOICE, "device=cpuu: no such device; write device=auto or device=cuda or device=cpu"),
    "another key": (MOMENTUM, "optimizer.momentum: unknown key; write optimizer.lr=0.8"),
    "another value": (MOMENTUM, "optimizer.momentum: unknown key; write optimizer=sgd optimizer.momentum=0.9"),
    "what does not compose": (MOMENTUM, "optimizer.momentum: unknown key; write optimizer.momentum=0.8"),
    "beside it what does not compose": (CHOICE, "device=cpuu: write device=cpu, with two of them device.count=2"),
    "what drops the rest": (LIST, "a: unknown; write 'regularization=[mixup]' regularization.mixup.alpha=0.4"),
    "what no shell takes": (LIST, "a: unknown; write regularization=[ema,mixup] regularization.mixup.alpha=0.4"),
}


@pytest.mark.parametrize(("mistake", "finding"), CURES)
def test_a_cure_is_one_in_any_wording(mistake, finding):
    assert is_cured(mistake, (finding,))


@pytest.mark.parametrize(("mistake", "finding"), NO_CURES.values(), ids=NO_CURES)
def test_no_cure_is_taken_for_one(mistake, finding):
    assert not is_cured(mistake, (finding,))


def test_two_errors_for_one_mistake_are_no_cure():
    finding = "device=cpuu: no such device; did you mean 'cpu'?"
    assert not is_cured(CHOICE, (finding, finding))


def test_a_word_takes_its_place_in_the_list_that_was_typed():
    finding = "regularization=mixp: no such regularization; did you mean 'mixup'?"
    assert list(proposals(finding, ["regularization=[ema,mixp]"])) == [["regularization=[ema,mixup]"]]


def test_mistakes_of_every_kind_are_told_with_their_cure():
    tried, missed = 0, []
    for _, count, misses in measure(1, seed=2):
        tried, missed = tried + count, [*missed, *misses]
    assert tried == len(kinds()) >= 10
    assert len(missed) <= tried / 10, missed

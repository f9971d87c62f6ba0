"""Guards of what makes training fast, as ratios of calls made in turn; the margins are for busy machines."""

import statistics

import torch
from work import BATCH, PilImages, own_training, prepare
from yardsticks import bare_epoch, own_epoch, paired_ratios

ONE_THREAD = ("device=cpu", "device.threads=1", "device.precision=fp32")
SMALL_NET = ("model.widths=[16]", "model.hidden=32")


def test_batched_augmentation_is_three_times_as_fast_as_one_image_at_a_time(benchmark):
    work = prepare("simple", 2, *ONE_THREAD)
    _, batches = own_training(work)
    images = PilImages(work)

    def one_at_a_time():
        for order in batches.order(0).split(BATCH):
            torch.stack([images[index][0] for index in order.tolist()])

    def batched():
        for _ in batches.epoch(0):
            pass

    ratios = paired_ratios(one_at_a_time, batched, rounds=7)
    benchmark.pedantic(batched, rounds=5)
    assert statistics.median(ratios) > 3, ratios


def test_the_loop_adds_little_to_the_bare_training_steps(benchmark):
    work = prepare("simple", 4, "augmentation=none", *ONE_THREAD, *SMALL_NET)
    own, bare = own_epoch(*own_training(work)), bare_epoch(*own_training(work))
    ratios = paired_ratios(own, bare, rounds=11)
    benchmark.pedantic(own, rounds=3)
    assert statistics.median(ratios) < 1.25, ratios

import hashlib
from itertools import product

import torch

from cnnbench.seeds import derive_seed, generator


def test_a_seed_is_63_bits_of_the_blake2b_hash_of_its_place():
    digest = hashlib.blake2b(b"3/order/12", digest_size=8).digest()
    assert derive_seed(3, "order", 12) == int.from_bytes(digest, "little") >> 1
    assert all(0 <= derive_seed(seed) < 2**63 for seed in range(200))


def test_every_part_of_the_place_changes_the_seed():
    places = list(product(range(5), ("order", "augmentation"), range(20)))
    assert len({derive_seed(*place) for place in places}) == len(places)


def test_a_generator_gives_the_same_numbers_for_the_same_place_whatever_was_drawn_before():
    first = torch.rand(8, generator=generator(0, "order", 1))
    torch.rand(5)
    assert torch.equal(torch.rand(8, generator=generator(0, "order", 1)), first)
    assert not torch.equal(torch.rand(8, generator=generator(0, "order", 2)), first)


def test_a_generator_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    torch.rand(3, generator=generator(0, "weights"))
    assert torch.equal(torch.get_rng_state(), before)

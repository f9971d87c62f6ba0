"""Random numbers as a function of where they are used, never of what was drawn before."""

import hashlib

import torch


def derive_seed(seed: int, *place: str | int) -> int:
    """A 63-bit seed that depends on every part of `place`, for instance `(seed, "order", epoch)`."""
    text = "/".join(str(part) for part in (seed, *place))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, *place: str | int) -> torch.Generator:
    """A CPU generator seeded by `derive_seed`: the same numbers for the same place on every machine."""
    return torch.Generator().manual_seed(derive_seed(seed, *place))

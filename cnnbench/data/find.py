"""From `config.data` to a data set: found, then read and split."""

from collections.abc import Mapping
from typing import Any

from cnnbench.config.settings import build, settings
from cnnbench.data import DATASETS, Source, Splits, split

SPLITTING = tuple(settings(split))
"""The keys of `config.data` that say how the training images are divided and how many of them are used."""


def find_data(node: Mapping[str, Any]) -> Source:
    """The data set that `config.data` names, found but not yet read.

    Raises:
        DataError: it is not there.
    """
    return build(DATASETS, "data", source_settings(node))


def source_settings(node: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `config.data` that says where the images come from, without how they are split."""
    return {key: value for key, value in node.items() if key not in SPLITTING}


def same_source(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two nodes name the same images, however they are split."""
    return source_settings(first) == source_settings(second)


def read_splits(source: Source, node: Mapping[str, Any]) -> Splits:
    """The training and validation part, read; the test part stays unread."""
    return split(source, **{key: node[key] for key in SPLITTING})

"""From `config.data` to a data set: found, then read and split."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from cnnbench.config.run_config import FROM_PYTHON
from cnnbench.config.settings import build, settings
from cnnbench.data import DATASETS, Source, Splits, split
from cnnbench.data.source import PARTS
from cnnbench.errors import ConfigError, DataError

SPLITTING = tuple(settings(split))
"""The keys of `config.data` that say how the training images are divided and how many of them are used."""


def find_data(node: Mapping[str, Any]) -> Source:
    """The data set that `config.data` names, found but not yet read.

    Raises:
        DataError: it is not there.
        ConfigError: it was given from Python.
    """
    if node["name"] == FROM_PYTHON:
        raise ConfigError(
            f"data: the data set of this run, {node['class']}, was given from Python; give it there as dataset=, "
            "or choose another with data=..."
        )
    return build(DATASETS, "data", source_settings(node))


def read_once(source: Source) -> Source:
    """The same data set, its training and test parts in memory: `read` gives them without reading."""
    parts = {part: source.read(part) for part in PARTS if getattr(source, f"has_{part}")}
    return replace(source, read=lambda part: parts[part] if part in parts else source.read(part))


def source_settings(node: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `config.data` that says where the images come from, without how they are split."""
    return {key: value for key, value in node.items() if key not in SPLITTING}


def same_source(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two nodes name the same images, however they are split."""
    return source_settings(first) == source_settings(second)


def read_splits(source: Source, node: Mapping[str, Any], seed: int) -> Splits:
    """The training and validation part for a run with this seed, read; the test part stays unread."""
    return split(source, seed, **{key: node[key] for key in SPLITTING})


def read_before_training(source: Source, node: Mapping[str, Any], seed: int) -> Splits:
    """`read_splits`, with the test images read too, so that hours of training do not end at one that cannot be: they
    are kept for `read_test`, and nothing looks at them before.

    Raises:
        DataError: with a line for everything in any part that cannot be read.
    """
    try:
        splits = read_splits(source, node, seed)
        test = splits.read_test()
        if test is not None:
            test.digests()  # of streamed images, which are decoded for it
    except DataError as error:
        raise DataError(*dict.fromkeys([*error.findings, *_damage(source)])) from error
    return replace(splits, read_test=lambda: test)


def _damage(source: Source) -> Iterator[str]:
    """What keeps each part from being read: the first that is tried hides the others."""
    for part in PARTS:
        if getattr(source, f"has_{part}"):
            try:
                source.read(part).digests()
            except DataError as error:
                yield from error.findings

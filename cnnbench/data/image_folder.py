"""Any folder of images with one folder per class, with or without train/, val/ and test/ above them."""

import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from cnnbench.config.settings import Count, FolderPath, Fraction, PositiveInt
from cnnbench.console import note
from cnnbench.data.class_folders import Files, find_parts
from cnnbench.data.decode import FULL_RANGE, GreyRange, deep_values, size_of
from cnnbench.data.images import ImageSet, ImageShape, ResidentImages
from cnnbench.data.pack import Pack, obtain_pack
from cnnbench.data.packed import PackedImages
from cnnbench.data.source import PARTS, Part, Source
from cnnbench.data.streaming import Decoded, StreamedImages, decode_batches, refuse
from cnnbench.disk import expand_home
from cnnbench.errors import ConfigError, DataError, DiskError
from cnnbench.machine import available_cores, available_memory

SAMPLE_IMAGES = 100
SMALL_SHARE = 4  # a quarter of the range: two of eight bits are lost
CHUNK_IMAGES = 256
MANY_IMAGES = 2000  # fewer are decoded before the worker processes would have started
UNASKED_SHARE = 0.5  # of the free disk space, for pack=auto
COPIES = 3  # of a resident set: as read, as split, and room for the training itself


def image_folder(
    *,
    root: FolderPath | None,
    channels: Literal[1, 3],
    image_size: list[PositiveInt] | None,
    grey_range: list[Count],
    train: str | None,
    val: str | None,
    test: str | None,
    test_fraction: Fraction,
    resident: Literal["auto", "always", "never"],
    pack: bool | Literal["auto"],
    workers: Count | None,
    on_bad_image: Literal["error", "skip"],
) -> Source:
    """The images under `root`: `<class>/...`, or `train/<class>/...` with test/ and perhaps val/ beside it.

    `train`, `val` and `test` name folders in `root` that are these parts; null: found by their names.
    Without such folders a stratified `test_fraction` is set aside, the same for every seed; 1 takes all.
    The ends of `grey_range`, of 16-bit images, become black and white.
    An image that is a link out of `root` counts as bad. `pack` decodes the images once, into a file in the cache.
    """
    if root is None:
        raise ConfigError("data.root=null: image_folder needs the folder that holds the class folders; set data.root")
    if image_size is not None and len(image_size) != 2:
        raise ConfigError(f"data.image_size={image_size}: should be [height, width] or null")
    folder = expand_home(root)
    found = find_parts(folder, test_fraction, {"train": train, "val": val, "test": test})
    if found.problems:
        raise DataError(*found.problems)
    levels = checked_range(grey_range)
    class_names = found.class_names
    parts = {part: replace(files, grey_range=levels) for part, files in found.files.items()}
    height, width = image_size or common_size(next(iter(parts.values())).paths)
    shape = (channels, height, width)
    total = sum(len(files.paths) for files in parts.values())
    in_memory = resident == "always" or (resident == "auto" and fits_in_memory(total, shape))
    processes = available_cores() if workers is None else workers

    outside = links_outside(parts.values(), folder)
    packing = pack is True or (pack == "auto" and total >= MANY_IMAGES)

    @functools.cache  # of a failure too: it names the bad images of every part
    def packed() -> Pack | DataError | None:
        try:
            return pack_parts(
                folder, class_names, parts.values(), outside, shape, processes, on_bad_image, unasked=pack == "auto"
            )
        except DataError as error:
            return error

    def read(part: Part) -> ImageSet:
        files, skipped = without_bad(parts[part], outside, on_bad_image)
        whole = packed() if packing else None
        if isinstance(whole, DataError):
            raise whole
        if whole is not None:
            return read_packed(whole, files, in_memory, on_bad_image, skipped)
        load = read_resident if in_memory else open_streamed
        return load(files, shape, processes, on_bad_image, skipped)

    return Source(
        "image_folder",
        str(folder),
        shape,
        class_names,
        read,
        **{f"has_{part}": part in parts for part in PARTS},
        labels={part: files.labels for part, files in parts.items()},
        taken=found.taken,
        ignored=found.ignored,
        remarks=lambda: range_remarks(next(iter(parts.values())).paths, levels),
    )


def read_resident(
    files: Files, shape: ImageShape, workers: int, on_bad_image: str, skipped: tuple[str, ...]
) -> ResidentImages:
    """All images of `files` in one tensor, without the bad ones."""
    images = torch.empty(len(files.paths), *shape, dtype=torch.uint8)
    bad: dict[int, str] = {}
    decoded = _decoded(files, shape, workers)
    for chunk, (chunk_images, findings) in zip(images.split(CHUNK_IMAGES), decoded, strict=True):
        chunk.copy_(chunk_images)
        bad |= findings
    if on_bad_image == "error":
        refuse(bad)
    good = remaining(files, bad)
    return ResidentImages(images[good] if bad else images, files.labels[good], skipped + tuple(bad.values()))


def open_streamed(
    files: Files, shape: ImageShape, workers: int, on_bad_image: str, skipped: tuple[str, ...]
) -> StreamedImages:
    """`files` as a streamed set; with on_bad_image=skip each is decoded once now, to know which to leave out."""
    bad: dict[int, str] = {}
    if on_bad_image == "skip":
        for _, findings in _decoded(files, shape, workers):
            bad |= findings
    files = files.subset(remaining(files, bad))
    return StreamedImages(
        files.paths,
        files.labels,
        shape,
        workers,
        skipped=skipped + tuple(bad.values()),
        grey_range=files.grey_range,
    )


def _decoded(files: Files, shape: ImageShape, workers: int) -> Iterator[Decoded]:
    """All images in chunks. Processes, not threads: on small images these wait for the interpreter's lock."""
    chunks = torch.arange(len(files.paths)).split(CHUNK_IMAGES)
    processes = workers if len(files.paths) >= MANY_IMAGES else 0
    return decode_batches(files.paths, shape, chunks, processes, files.grey_range)


def pack_parts(
    folder: Path,
    class_names: tuple[str, ...],
    parts: Iterable[Files],
    outside: Mapping[str, str],
    shape: ImageShape,
    workers: int,
    on_bad_image: str,
    *,
    unasked: bool,
) -> Pack | None:
    """The pack of all parts, in the order of their paths; None where an `unasked` one finds no room."""
    labels = {path: label for files in parts for path, label in zip(files.paths, files.labels.tolist(), strict=True)}
    paths = tuple(sorted(labels.keys() - outside.keys()))
    (levels,) = {files.grey_range for files in parts}
    files = Files(paths, torch.tensor([labels[path] for path in paths], dtype=torch.int64), grey_range=levels)
    processes = workers if len(paths) >= MANY_IMAGES else 0
    share = UNASKED_SHARE if unasked else 1
    try:
        return obtain_pack(folder, files, class_names, shape, workers=processes, on_bad_image=on_bad_image, share=share)
    except DiskError as error:
        if not unasked:
            raise
        note(f"{error}; going on without a pack")
        return None


def read_packed(
    pack: Pack, files: Files, in_memory: bool, on_bad_image: str, skipped: tuple[str, ...]
) -> ResidentImages | PackedImages:
    """`files` from the pack: in one tensor where they fit into memory."""
    bad = {pack.files.paths[row]: line for row, line in pack.bad.items()}
    files, unreadable = without_bad(files, bad, on_bad_image)
    row_of = {path: row for row, path in enumerate(pack.files.paths)}
    rows = torch.tensor([row_of[path] for path in files.paths])
    skipped += unreadable
    if in_memory:
        return ResidentImages(pack.read(rows), files.labels, skipped)
    return PackedImages(pack, rows, files.labels, skipped=skipped)


def links_outside(parts: Iterable[Files], root: Path) -> dict[str, str]:
    """The links that lead out of `root`, with a line for each."""
    home = Path(os.path.realpath(root))  # which, unlike Path.resolve, takes links that lead to themselves
    links = sorted({path for files in parts for path in files.links})
    return {
        path: f"{path}: is a link out of {root}, which is not followed"
        for path in links
        if not Path(os.path.realpath(path)).is_relative_to(home)
    }


def without_bad(files: Files, lines: Mapping[str, str], on_bad_image: str) -> tuple[Files, tuple[str, ...]]:
    """`files` without those that have a line, and these lines; with on_bad_image=error these are raised."""
    bad = {index: lines[path] for index, path in enumerate(files.paths) if path in lines} if lines else {}
    if on_bad_image == "error":
        refuse(bad)
    return files.subset(remaining(files, bad)) if bad else files, tuple(bad.values())


def remaining(files: Files, bad: Mapping[int, str]) -> Tensor:
    """The indices of the images that are not `bad`; DataError where none is left."""
    if len(bad) == len(files.paths):
        raise DataError(f"{next(iter(bad.values()))}; so is each of the {len(bad)} images")
    return torch.tensor([index for index in range(len(files.paths)) if index not in bad])


def checked_range(grey_range: Sequence[int]) -> GreyRange:
    """The two ends.

    Raises:
        ConfigError: they are no range of 16-bit values.
    """
    low, high = (*grey_range, 0, 0)[:2]
    if len(grey_range) != 2 or not FULL_RANGE[0] <= low < high <= FULL_RANGE[1]:
        raise ConfigError(f"data.grey_range={grey_range}: should be [low, high] with 0 <= low < high <= 65535")
    return low, high


def range_remarks(paths: Sequence[str], grey_range: GreyRange) -> list[str]:
    """A line where a sample of the images has 16 bits and uses a small part of the range."""
    step = max(1, len(paths) // SAMPLE_IMAGES)
    values = [found for path in paths[::step] if (found := deep_values(path))]
    if not values:
        return []
    low, high = min(low for low, _ in values), max(high for _, high in values)
    if (high - low) * SMALL_SHARE > grey_range[1] - grey_range[0]:
        return []
    return [
        f"16-bit images use values from {low} to {high} of {grey_range[0]} to {grey_range[1]} in a sample of "
        f"{len(values)}, which leaves few grey levels; `cnnbench data check` measures 'data.grey_range=[low,high]'"
    ]


def common_size(paths: Sequence[str]) -> tuple[int, int]:
    """The height and width that a sample of the images shares; those that cannot be read are left for later.

    Raises:
        DataError: they differ.
    """
    step = max(1, len(paths) // SAMPLE_IMAGES)
    sizes: dict[tuple[int, int], str] = {}
    bad: dict[int, str] = {}
    for index in range(0, len(paths), step):
        try:
            sizes.setdefault(size_of(paths[index]), paths[index])
        except DataError as error:
            bad[index] = str(error)
    if not sizes:
        refuse(bad)
    if len(sizes) > 1:
        (first, one), (second, other), *_ = sizes.items()
        raise DataError(
            f"data.image_size=null: the images differ in size ({Path(one).name} {first}, {Path(other).name} {second}); "
            "set 'data.image_size=[height,width]'"
        )
    return next(iter(sizes))


def fits_in_memory(count: int, shape: ImageShape) -> bool:
    """Whether `COPIES` times the pixels of so many images fit into the memory that is available now."""
    channels, height, width = shape
    return COPIES * count * channels * height * width <= available_memory()

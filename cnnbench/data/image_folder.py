"""Any folder of images with one folder per class, with or without train/, val/ and test/ above them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from cnnbench.data.class_folders import Files, find_parts
from cnnbench.data.decode import size_of
from cnnbench.data.images import ImageSet, ImageShape, ResidentImages
from cnnbench.data.source import Part, Source
from cnnbench.data.streaming import Decoded, StreamedImages, decode_batches, refuse
from cnnbench.errors import ConfigError, DataError
from cnnbench.lookup import Count, Fraction, PositiveInt

SAMPLE_IMAGES = 100
CHUNK_IMAGES = 256
MANY_IMAGES = 2000  # fewer are decoded before the worker processes would have started
COPIES = 3  # of a resident set: as read, as split, and room for the training itself


def image_folder(
    *,
    root: str | None,
    channels: Literal[1, 3],
    image_size: list[PositiveInt] | None,
    test_fraction: Fraction,
    resident: Literal["auto", "always", "never"],
    workers: Count | None,
    on_bad_image: Literal["error", "skip"],
) -> Source:
    """The images under `root`: `<class>/...`, or `train/<class>/...` with test/ and perhaps val/ beside it.

    Without such folders a stratified `test_fraction` is set aside, the same for every seed; 1 takes all.
    An image that is a link out of `root` counts as bad.
    """
    if root is None:
        raise ConfigError("data.root=null: image_folder needs the folder that holds the class folders; set data.root")
    if image_size is not None and len(image_size) != 2:
        raise ConfigError(f"data.image_size={image_size}: should be [height, width] or null")
    folder = Path(root).expanduser()
    class_names, parts = find_parts(folder, test_fraction)
    height, width = image_size or common_size(next(iter(parts.values())).paths)
    shape = (channels, height, width)
    total = sum(len(files.paths) for files in parts.values())
    in_memory = resident == "always" or (resident == "auto" and fits_in_memory(total, shape))
    processes = available_cores() if workers is None else workers

    def read(part: Part) -> ImageSet:
        files, skipped = without_links_outside(parts[part], folder, on_bad_image)
        load = read_resident if in_memory else open_streamed
        return load(files, shape, processes, on_bad_image, skipped)

    has = {f"has_{part}": part in parts for part in ("train", "val", "test")}
    return Source("image_folder", str(folder), shape, class_names, read, **has)


def read_resident(
    files: Files, shape: ImageShape, workers: int, on_bad_image: str, skipped: tuple[str, ...]
) -> ResidentImages:
    """All images of `files` in one tensor, without the bad ones."""
    images = torch.empty(len(files.paths), *shape, dtype=torch.uint8)
    bad: dict[int, str] = {}
    decoded = _decoded(files, shape, workers, on_bad_image)
    for chunk, (chunk_images, findings) in zip(images.split(CHUNK_IMAGES), decoded, strict=True):
        chunk.copy_(chunk_images)
        bad |= findings
    good = remaining(files, bad)
    return ResidentImages(images[good] if bad else images, files.labels[good], skipped + tuple(bad.values()))


def open_streamed(
    files: Files, shape: ImageShape, workers: int, on_bad_image: str, skipped: tuple[str, ...]
) -> StreamedImages:
    """`files` as a streamed set; with on_bad_image=skip each is decoded once now, to know which to leave out."""
    bad: dict[int, str] = {}
    if on_bad_image == "skip":
        for _, findings in _decoded(files, shape, workers, on_bad_image):
            bad |= findings
    files = files.subset(remaining(files, bad))
    return StreamedImages(files.paths, files.labels, shape, workers, skipped=skipped + tuple(bad.values()))


def _decoded(files: Files, shape: ImageShape, workers: int, on_bad_image: str) -> Iterator[Decoded]:
    """All images in chunks. Processes, not threads: on small images these wait for the interpreter's lock."""
    chunks = torch.arange(len(files.paths)).split(CHUNK_IMAGES)
    processes = workers if len(files.paths) >= MANY_IMAGES else 0
    for images, bad in decode_batches(files.paths, shape, chunks, processes):
        if on_bad_image == "error":
            refuse(bad)
        yield images, bad


def without_links_outside(files: Files, root: Path, on_bad_image: str) -> tuple[Files, tuple[str, ...]]:
    """`files` without the links that lead out of `root`, and one line for each of these."""
    home = root.resolve()
    bad = {
        index: f"{path}: is a link out of {root}, which is not followed"
        for index, path in enumerate(files.paths)
        if path.is_symlink() and not path.resolve().is_relative_to(home)
    }
    if on_bad_image == "error":
        refuse(bad)
    return files.subset(remaining(files, bad)), tuple(bad.values())


def remaining(files: Files, bad: Mapping[int, str]) -> Tensor:
    """The indices of the images that are not `bad`; DataError where none is left."""
    if len(bad) == len(files.paths):
        raise DataError(f"{next(iter(bad.values()))}; so is each of the {len(bad)} images")
    return torch.tensor([index for index in range(len(files.paths)) if index not in bad])


def common_size(paths: Sequence[Path]) -> tuple[int, int]:
    """The height and width that a sample of the images shares; those that cannot be read are left for later.

    Raises:
        DataError: they differ.
    """
    step = max(1, len(paths) // SAMPLE_IMAGES)
    sizes: dict[tuple[int, int], Path] = {}
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
            f"data.image_size=null: the images differ in size ({one.name} {first}, {other.name} {second}); "
            "set data.image_size=[height,width]"
        )
    return next(iter(sizes))


def fits_in_memory(count: int, shape: ImageShape) -> bool:
    """Whether `COPIES` times the pixels of so many images fit into the memory that is available now."""
    channels, height, width = shape
    return COPIES * count * channels * height * width <= available_memory()


def available_memory() -> int:
    """Bytes that can be used without swapping: Linux's estimate, elsewhere half of all memory."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def available_cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

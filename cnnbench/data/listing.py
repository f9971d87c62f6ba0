"""What lies in a folder: folders, image files, and what is ignored and why. Files are opened only where a name says
nothing."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from cnnbench.data.decode import EXTENSIONS, is_image
from cnnbench.data.source import Ignored
from cnnbench.errors import DataError

OF_A_SYSTEM = frozenset((
    "__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found", "system volume information", "__pycache__",
    "thumbs.db", "ehthumbs.db", "desktop.ini",
))  # fmt: skip

HIDDEN, SYSTEM, NO_FILE = "hidden", "of the system", "no regular file"
NO_CLASS, NO_PART, LINKED = "image of no class", "folder of no part", "linked folder"
EMPTY = "folder without images"
FEW_NAMES = 5


@dataclass
class Listing:
    """The entries of one folder, each by name; links to folders are among `folders`."""

    folders: list[os.DirEntry[str]] = field(default_factory=list)
    images: list[os.DirEntry[str]] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)


def list_folder(folder: str | os.PathLike[str], cure: str = "repair or remove it") -> Listing:
    """What lies directly in `folder`.

    Raises:
        DataError: it cannot be listed.
    """
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=attrgetter("name"))
    except OSError as error:
        raise DataError(f"{os.fspath(folder)}: cannot be listed ({error.strerror}); {cure}") from error
    listing = Listing()
    for entry in entries:
        if reason := _reason_of_name(entry.name):
            listing.ignored.append(Ignored(entry.path, reason))
        elif _is_folder(entry):
            listing.folders.append(entry)
        elif reason := _reason_of_file(entry):
            listing.ignored.append(Ignored(entry.path, reason))
        else:
            listing.images.append(entry)
    return listing


def images_below(folder: str | os.PathLike[str], ignored: list[Ignored]) -> Iterator[os.DirEntry[str]]:
    """The image files in `folder` and below, in the order of their names; what takes no part joins `ignored`.

    Linked folders are not entered.
    """
    listing = list_folder(folder)
    ignored += listing.ignored
    for entry in sorted(listing.folders + listing.images, key=attrgetter("name")):
        if not _is_folder(entry):
            yield entry
        elif entry.is_symlink():
            ignored.append(Ignored(entry.path, LINKED))
        else:
            yield from images_below(entry.path, ignored)


def holds_images(folder: str | os.PathLike[str]) -> bool:
    """Whether an image lies in `folder` or below; looks no further than the first."""
    deeper = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _reason_of_name(entry.name):
                    continue
                if not _is_folder(entry):
                    if _reason_of_file(entry) is None:
                        return True
                elif not entry.is_symlink():
                    deeper.append(entry.path)
    except OSError as error:
        raise DataError(f"{os.fspath(folder)}: cannot be listed ({error.strerror}); repair or remove it") from error
    return any(map(holds_images, deeper))


def first_names(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    rest = len(names) - FEW_NAMES
    return ", ".join(names[:FEW_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _reason_of_name(name: str) -> str | None:
    if name.lower() in OF_A_SYSTEM:
        return SYSTEM
    return HIDDEN if name.startswith(".") else None


def _reason_of_file(entry: os.DirEntry[str]) -> str | None:
    """Why this is no image, as far as can be told without decoding it."""
    if not (entry.is_symlink() or entry.is_file(follow_symlinks=False)):
        return NO_FILE
    extension = os.path.splitext(entry.name)[1].lower()
    if extension in EXTENSIONS:
        return None
    if extension:
        return f"extension {extension}"
    return None if is_image(entry.path) else "no extension, no image"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False

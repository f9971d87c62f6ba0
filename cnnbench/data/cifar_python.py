"""The pixels and labels of CIFAR's Python version without unpickling: nothing in the file is ever executed.

The opcodes are listed (`pickletools.genops` only parses). A batch file holds a dict with few parts; two of
them are recognised, the array under "data" and the list of numbers under "labels" or "fine_labels".
"""

import pickletools
from pathlib import Path

from cnnbench.errors import DataError

PIXELS = 3072
LABEL_KEYS = ("labels", "fine_labels", b"labels", b"fine_labels")
NUMBERS = ("BININT", "BININT1", "BININT2")
CODEC_NAMES = ("latin1", "_codecs encode")  # how Python 3 writes bytes in protocol 2
IN_LISTS = {
    "EMPTY_LIST", "LIST", "MARK", "APPEND", "APPENDS", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "FRAME",
    "TUPLE2", "REDUCE", "BINGET", "LONG_BINGET",
}  # fmt: skip


def parse_batch(content: bytes, origin: Path) -> tuple[bytes, list[int]]:
    """The pixels, 3,072 bytes an image, and the labels of one batch file.

    Raises:
        DataError: naming `origin`, for everything that does not look like a batch of CIFAR's.
    """
    try:
        arrays, labels, by_columns = _parts(content)
    except Exception as error:  # genops raises whatever its argument readers meet in a damaged file
        raise _unknown(origin, f"damaged ({type(error).__name__}: {error})") from error
    if len(arrays) != 1 or by_columns:
        raise _unknown(origin, f"{len(arrays)} arrays of pixels in rows, expected 1")
    if len(arrays[0]) != PIXELS * len(labels) or not labels:
        raise _unknown(origin, f"{len(arrays[0])} pixels for {len(labels)} labels, expected {PIXELS} each")
    return arrays[0], labels


def _parts(content: bytes) -> tuple[list[bytes], list[int], bool]:
    """The byte strings of whole images, the labels, and whether an array is stored column by column.

    The order is the last truth value before an array's bytes or, from protocol 5 on, the word "F".
    """
    arrays: list[bytes] = []
    labels: list[int] = []
    in_labels = last_flag = by_columns = False
    for opcode, argument, _ in pickletools.genops(content):
        if in_labels and isinstance(argument, int) and opcode.name in NUMBERS:
            labels.append(argument)
        elif opcode.name not in IN_LISTS and argument not in CODEC_NAMES:
            in_labels = argument in LABEL_KEYS
        if opcode.name in ("NEWTRUE", "NEWFALSE"):
            last_flag = opcode.name == "NEWTRUE"
        if isinstance(argument, str | bytes | bytearray) and len(argument) >= PIXELS:
            arrays.append(argument.encode("latin-1") if isinstance(argument, str) else bytes(argument))
            by_columns |= last_flag
        by_columns |= argument == "F"
    return arrays, labels, by_columns


def _unknown(origin: Path, what: str) -> DataError:
    return DataError(f"{origin}: {what}; fetch CIFAR's binary version from https://www.cs.toronto.edu/~kriz/cifar.html")

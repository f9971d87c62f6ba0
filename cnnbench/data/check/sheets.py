"""Contact sheets: some images of each class side by side, as a PNG."""

import base64
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageOps

from cnnbench.data.check.examine import Examined
from cnnbench.data.decode import inspect_image
from cnnbench.disk import write_atomically
from cnnbench.errors import DataError

COLUMNS, ROWS, CELL, GAP = 10, 4, 72, 4
BACKGROUND = (238, 238, 238)


def draw_sheets(examined: Examined) -> Iterator[tuple[str, Image.Image]]:
    """For each class its name and a sheet of images spread evenly over all that can be read."""
    of_class: dict[str, list[str]] = {name: [] for name in examined.parts.class_names}
    for place, facts in zip(examined.places, examined.facts, strict=True):
        if facts.problem is None:
            of_class[place.label].append(place.path)
    for name, paths in of_class.items():
        yield name, draw_sheet([paths[index * len(paths) // (COLUMNS * ROWS)] for index in range(COLUMNS * ROWS)]
                               if len(paths) > COLUMNS * ROWS else paths)  # fmt: skip


def draw_sheet(paths: Sequence[str], columns: int = COLUMNS) -> Image.Image:
    """The images at `paths` in rows, each whole within its cell."""
    columns = max(min(columns, len(paths)), 1)
    rows = max(-(-len(paths) // columns), 1)
    step = CELL + GAP
    sheet = Image.new("RGB", (columns * step + GAP, rows * step + GAP), BACKGROUND)
    for number, path in enumerate(paths):
        row, column = divmod(number, columns)
        try:
            image = inspect_image(path, CELL).image
        except DataError:  # it has changed since it was read
            continue
        small = ImageOps.contain(image, (CELL, CELL), Image.Resampling.BOX)
        corner = GAP + column * step + (CELL - small.width) // 2, GAP + row * step + (CELL - small.height) // 2
        sheet.paste(small, corner)
    return sheet


def sheet_name(number: int, class_name: str) -> str:
    """A file name that every system takes and that sorts as the classes do."""
    return f"{number:04}-{re.sub('[^A-Za-z0-9]+', '-', class_name)[:40].strip('-') or 'class'}.png"


def save_png(image: Image.Image, path: Path) -> None:
    """Writes it whole or not at all."""
    write_atomically(path, _encoded(image, "PNG"))


def data_uri(image: Image.Image) -> str:
    """The image as text that stands in a page."""
    return f"data:image/jpeg;base64,{base64.b64encode(_encoded(image, 'JPEG')).decode()}"


def _encoded(image: Image.Image, kind: str) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, quality=85)
    return content.getvalue()

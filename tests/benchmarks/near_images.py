"""How often `cnnbench data check` finds changed copies of real images, and what it takes for copies that are none.

    python tests/benchmarks/near_images.py FOLDER -o pairs.png

Takes 1,000 images of a folder of class folders, changes each in every way of CHANGES, and says what is recognised.
Then compares all images of the folder with one another and draws 100 of the pairs found, to be judged by eye.
"""

import argparse
import io
import random
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from cnnbench.data.check.near import BITS, CORRELATION, SIDE, VIEWS, correlations, difference_hashes, near_pairs
from cnnbench.data.check.scan import scan
from cnnbench.data.check.sheets import draw_sheet
from cnnbench.data.class_folders import find_parts

SAMPLE, SHOWN = 1000, 100


def compressed(image, quality):
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return Image.open(content).convert("RGB")


def resized(image, share):
    return image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.BICUBIC)


def cropped(image, share):
    width, height = round(image.width * (1 - share)), round(image.height * (1 - share))
    left, top = random.randint(0, image.width - width), random.randint(0, image.height - height)
    return image.crop((left, top, left + width, top + height)).resize(image.size, Image.Resampling.BICUBIC)


CHANGES = {
    **{f"JPEG of quality {q}": lambda image, q=q: compressed(image, q) for q in (95, 75, 50)},
    **{f"resized to {s:.0%}": lambda image, s=s: resized(image, s) for s in (2, 0.75, 0.5)},
    **{f"cropped by {s:.0%}": lambda image, s=s: cropped(image, s) for s in (0.03, 0.06, 0.1)},
    "20 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "20 % darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "30 % more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "mirrored": ImageOps.mirror,
    "upside down": ImageOps.flip,
    "mirrored, JPEG of quality 75": lambda image: compressed(ImageOps.mirror(image), 75),
}


def is_recognised(image, copy):
    """Whether the copy is near the image, as `near_pairs` decides it."""
    small, other = (
        np.asarray(each.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0))[None]
        for each in (image, copy)
    )
    turned = (other, other[:, :, ::-1], other[:, ::-1])
    bits = np.bitwise_count(difference_hashes(image)[0] ^ difference_hashes(copy))
    return any(bits[view] <= BITS and correlations(small, turned[view])[0] >= CORRELATION for view in range(len(VIEWS)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("pairs.png"))
    options = parser.parse_args()
    random.seed(0)
    paths = [path for files in find_parts(options.folder, 0.0, {}).files.values() for path in files.paths]
    sample = [Image.open(path).convert("RGB") for path in random.sample(paths, min(SAMPLE, len(paths)))]
    for name, change in CHANGES.items():
        found = sum(is_recognised(image, change(image)) for image in sample)
        print(f"{name:32} {100 * found / len(sample):5.1f} %")
    facts = scan(paths, 2, lambda _: None)
    started = time.perf_counter()
    pairs = near_pairs(np.stack([f.hashes for f in facts]), np.stack([f.small for f in facts]), lambda _: None)
    print(f"{len(paths):,} images: {len(pairs)} pairs in {time.perf_counter() - started:.1f} s")
    shown = random.sample(pairs, min(SHOWN, len(pairs)))
    draw_sheet([paths[index] for pair in shown for index in pair[:2]]).save(options.output)


if __name__ == "__main__":
    main()

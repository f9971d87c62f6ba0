import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from cnnbench.data.decode import decode_image, size_of
from cnnbench.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")  # of Pillow

RED = (255, 0, 0)


def saved(tmp_path, image, name="a.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def pixel(path, channels=3, size=(4, 4)):
    image = decode_image(path, (channels, *size))
    assert image.shape == (channels, *size)
    assert image.dtype == torch.uint8
    return image[:, 0, 0].tolist()


@pytest.mark.parametrize(
    ("image", "rgb", "grey"),
    [
        (Image.new("RGB", (4, 4), RED), list(RED), [76]),
        (Image.new("L", (4, 4), 90), [90] * 3, [90]),
        (Image.new("1", (4, 4), 1), [255] * 3, [255]),
        (Image.new("LA", (4, 4), (0, 0)), [255] * 3, [255]),
        (Image.new("RGBA", (4, 4), (255, 0, 0, 0)), [255] * 3, [255]),
        (Image.new("RGBA", (4, 4), (255, 0, 0, 255)), list(RED), [76]),
        (Image.new("RGBA", (4, 4), (0, 0, 0, 51)), [204] * 3, [204]),
        (Image.new("RGB", (4, 4), RED).convert("P"), list(RED), [76]),
        (Image.new("I;16", (4, 4), 65535), [255] * 3, [255]),
        (Image.new("I;16", (4, 4), 32768), [128] * 3, [128]),
        (Image.new("I;16", (4, 4), 300), [1] * 3, [1]),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else "",
)
def test_each_mode_is_converted_by_rule(tmp_path, image, rgb, grey):
    path = saved(tmp_path, image)
    assert pixel(path) == rgb
    assert pixel(path, channels=1) == grey


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    image = decode_image(saved(tmp_path, Image.fromarray(ramp)), (1, 16, 16))
    assert image.flatten().tolist() == list(range(256))


def test_cmyk_and_a_transparent_palette_are_converted(tmp_path):
    cmyk = pixel(saved(tmp_path, Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "a.jpg"))
    assert np.abs(np.array(cmyk) - RED).max() <= 3
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([255, 0, 0])
    assert pixel(saved(tmp_path, palette, "b.png", transparency=0)) == [255, 255, 255]


def test_the_camera_orientation_is_undone(tmp_path):
    image = Image.new("RGB", (8, 4))
    image.paste(RED, (0, 0, 4, 4))  # red at the left; turned clockwise it is at the top
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, image, exif=exif)
    assert size_of(path) == (8, 4)
    upright = decode_image(path, (3, 8, 4))
    assert upright[0, :4].eq(255).all()
    assert upright[0, 4:].eq(0).all()


def test_the_image_covers_the_shape_and_its_centre_is_kept(tmp_path):
    image = Image.new("L", (12, 4))
    image.paste(255, (4, 0, 8, 4))
    assert decode_image(saved(tmp_path, image), (1, 4, 4)).eq(255).all()
    assert decode_image(saved(tmp_path, image), (1, 2, 2)).min() > 200  # edges blur when it shrinks


def test_an_image_of_the_right_size_keeps_its_pixels(tmp_path):
    pixels = torch.randint(0, 256, (5, 7, 3), dtype=torch.uint8)
    assert decode_image(saved(tmp_path, Image.fromarray(pixels.numpy())), (3, 5, 7)).equal(pixels.permute(2, 0, 1))


def test_a_much_larger_jpeg_differs_little_from_one_decoded_whole(tmp_path, monkeypatch):
    numbers = np.random.default_rng(0)
    image = Image.fromarray(numbers.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize((1024, 768))
    path = saved(tmp_path, image, "large.jpg", quality=90)
    smaller = decode_image(path, (3, 64, 64)).int()
    just_below = decode_image(path, (3, 200, 200))  # 400 is more than half of 768: decoded whole
    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.draft", lambda *_: None)
    assert (smaller - decode_image(path, (3, 64, 64)).int()).abs().max() <= 4
    assert just_below.equal(decode_image(path, (3, 200, 200)))


def a_png(*chunks):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)


def header(width, height, bits=8, colour=2):
    return b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)


MALFORMED = {
    "zero bytes.jpg": b"",
    "text.jpg": b"this is no image",
    "header only.jpg": b"\xff\xd8\xff\xe0",
    "68 bytes.png": a_png(header(1, 1), (b"IDAT", b"\0" * 11), (b"IEND", b"")),
    "no data.png": a_png(header(4, 4), (b"IEND", b"")),
    "bomb.png": a_png(header(60000, 60000), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")),
    "half a bomb.png": a_png(header(12000, 10000), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")),
    "strange bits.png": a_png(header(4, 4, bits=3), (b"IDAT", b""), (b"IEND", b"")),
    "bad.gif": b"GIF89a" + b"\xff" * 30,
    "bad.bmp": b"BM" + b"\xff" * 60,
    "bad.tif": b"II*\0" + b"\xff" * 60,
    "script.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_named_in_one_line(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(MALFORMED[name])
    with pytest.raises(DataError) as caught:
        decode_image(path, (3, 4, 4))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("extension", ["jpg", "png", "bmp", "webp", "tif"])
def test_no_cut_of_a_file_gets_past(tmp_path, extension):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    content = saved(tmp_path, noise, f"a.{extension}").read_bytes()
    path = tmp_path / f"cut.{extension}"
    for length in range(0, len(content) // 2, max(1, len(content) // 40)):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match="cut"):
            decode_image(path, (3, 16, 16))


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "missing.jpg", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            decode_image(path, (3, 4, 4))


def test_a_name_that_is_not_utf_8_is_read(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    Image.new("RGB", (4, 4), RED).save(path)
    assert pixel(path) == list(RED)

"""A folder of odd, exotic and broken image files, and what should become of each."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

WIDTH, HEIGHT = 96, 120
ORIENTATION = 0x0112
FLIP = Image.Transpose
UNDO = (FLIP.FLIP_LEFT_RIGHT, FLIP.ROTATE_180, FLIP.FLIP_TOP_BOTTOM, FLIP.TRANSPOSE, FLIP.ROTATE_90)
UNDO += (FLIP.TRANSVERSE, FLIP.ROTATE_270)
"""How the pixels of a picture with EXIF orientation 2, 3, ... 8 lie in the file."""


@dataclass(frozen=True)
class Right:
    """Comes out as the reference picture (or its luma), each value to within a tolerance."""

    tolerance: int = 0
    grey: bool = False
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Refused:
    """Is listed as unreadable, with this in the reason."""

    reason: str


IGNORED = None  # is not taken for an image at all
Outcome = Right | Refused | None
GREY = Right(0, grey=True)


def reference(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """A smooth picture in which no turn, mirror, inversion or exchange of channels goes unnoticed."""
    y, x = np.mgrid[0:height, 0:width]
    red, green, blue = 40 + 180 * x / width, 230 - 190 * y / height, 60 + 120 * (x + 2 * y) / (width + 2 * height)
    return Image.fromarray(np.stack([red, green, blue], axis=-1).round().astype(np.uint8))


def encoded(image: Image.Image, format: str, **how: object) -> bytes:
    """An image as a file."""
    file = io.BytesIO()
    image.save(file, format, **how)
    return file.getvalue()


def raw_png(colour: int, bits: int, rows: bytes, size: tuple[int, int]) -> bytes:
    """A PNG of any header, which Pillow need not be able to write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def hostile_files() -> dict[str, tuple[bytes, Outcome]]:
    """Files by name: their bytes, and what should become of them."""
    picture = reference()
    return _jpegs(picture) | _pngs(picture) | _others(picture) | _broken(picture) | _no_images(picture)


def _turned(picture: Image.Image, orientation: int, format: str, **how: object) -> bytes:
    """A file that shows the picture only if its EXIF orientation is followed."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    turned = picture if orientation == 1 else picture.transpose(UNDO[orientation - 2])
    return encoded(turned, format, exif=exif, **how)


def _jpegs(picture: Image.Image) -> dict[str, tuple[bytes, Outcome]]:
    fine = {"quality": 95, "subsampling": 0}
    plain = encoded(picture, "JPEG", **fine)
    second = {"save_all": True, "append_images": [Image.new("RGB", picture.size)]}
    return {
        "baseline.jpg": (plain, Right(6)),
        "progressive.JPEG": (encoded(picture, "JPEG", **fine, progressive=True), Right(6)),
        "subsampled 4-2-0.jpe": (encoded(picture, "JPEG", quality=95, subsampling=2), Right(10)),
        "restart markers.jfif": (encoded(picture, "JPEG", quality=95, restart_marker_blocks=3), Right(10)),
        "grey.jpg": (encoded(picture.convert("L"), "JPEG", quality=95), Right(4, grey=True)),
        "cmyk.jpg": (encoded(picture.convert("CMYK"), "JPEG", quality=95), Right(8)),
        "trailing garbage.jpg": (plain + b"\0garbage" * 50, Right(6)),
        "two pictures (mpo).jpg": (encoded(picture, "MPO", **second, **fine), Right(6)),
        "corrupt exif.jpg": (encoded(picture, "JPEG", **fine, exif=b"Exif\0\0II*\0\xff\xff"), Right(6)),
    } | {f"exif/orientation {i}.jpg": (_turned(picture, i, "JPEG", **fine), Right(6)) for i in range(1, 9)}


def _pngs(picture: Image.Image) -> dict[str, tuple[bytes, Outcome]]:
    few, grey = picture.quantize(256), picture.convert("L")
    hidden = picture.convert("RGBA")
    holes = np.array(hidden)
    holes[: HEIGHT // 2] = [255, 0, 255, 0]  # a colour that nobody should see
    deep = np.asarray(picture).astype(">u2") * 257  # which Pillow cannot write
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "much " * 10_000, zip=True)
    files = {
        "rgb.png": (picture, Right()),
        "rgb called jpg.jpg": (picture, Right()),
        "palette.png": (few, Right(24)),
        "1 bit.png": (picture.convert("1"), Right(255)),
        "grey.png": (grey, GREY),
        "grey and alpha.png": (picture.convert("LA"), GREY),
        "opaque alpha.png": (hidden, Right()),
        "half transparent.png": (Image.fromarray(holes), Right(255)),
        "16 bit grey.png": (Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), GREY),
        "deep/er/and/deeper/still.png": (picture, Right()),
        "spaces and \U0001f642 and\nnewline.png": (picture, Right()),
        os.fsdecode(b"not utf-8 \xff.png"): (picture, Right()),
        "one pixel.png": (picture.crop((0, 0, 1, 1)), Right(size=(1, 1))),
        "thin.png": (picture.crop((0, 0, 1, 100)), Right(size=(1, 100))),
    }
    return {name: (encoded(image, "PNG"), outcome) for name, (image, outcome) in files.items()} | {
        "palette, one entry transparent.png": (encoded(few, "PNG", transparency=255), Right(255)),
        "transparent colour.png": (encoded(picture, "PNG", transparency=(255, 0, 255)), Right()),
        "16 bit rgb.png": (raw_png(2, 16, rows, picture.size), Right(1)),
        "animated.png": (encoded(picture, "PNG", save_all=True, append_images=[grey.convert("RGB")]), Right()),
        "turned by exif.png": (_turned(picture, 6, "PNG"), Right()),
        "long text.png": (encoded(picture, "PNG", pnginfo=info), Right()),
    }


def _others(picture: Image.Image) -> dict[str, tuple[bytes, Outcome]]:
    grey, whole = picture.convert("L"), {"lossless": True}
    numbers = np.asarray(grey)
    deep = numbers.astype(np.uint16) * 257
    second = {"save_all": True, "append_images": [grey.convert("RGB")]}
    return {
        "lossless.webp": (encoded(picture, "WEBP", **whole), Right()),
        "lossy.webp": (encoded(picture, "WEBP", quality=95), Right(10)),
        "alpha.webp": (encoded(picture.convert("RGBA"), "WEBP", **whole), Right()),
        "animated.webp": (encoded(picture, "WEBP", **whole, **second), Right()),
        "turned by exif.webp": (_turned(picture, 3, "WEBP", **whole), Right()),
        "24 bit.bmp": (encoded(picture, "BMP"), Right()),
        "8 bit.BMP": (encoded(grey, "BMP"), GREY),
        "32 bit.dib": (encoded(picture.convert("RGBA"), "DIB"), Right()),
        "plain.tif": (encoded(picture, "TIFF"), Right()),
        "lzw.tiff": (encoded(picture, "TIFF", compression="tiff_lzw"), Right()),
        "jpeg in tiff.tif": (encoded(picture, "TIFF", compression="jpeg", quality=95), Right(10)),
        "deflate.tiff": (encoded(picture, "TIFF", compression="tiff_adobe_deflate"), Right()),
        "lab.tif": (encoded(_lab(picture), "TIFF"), Right(20)),
        "cmyk.tif": (encoded(picture.convert("CMYK"), "TIFF"), Right(1)),
        "16 bit grey.tif": (encoded(Image.fromarray(deep), "TIFF"), GREY),
        "16 bit grey, big endian.tif": (encoded(Image.fromarray(deep.astype(">u2")), "TIFF"), GREY),
        "two pages.tif": (encoded(picture, "TIFF", **second), Right()),
        "turned by exif.tif": (_turned(picture, 3, "TIFF"), Right()),
        "floats.tif": (encoded(Image.fromarray(numbers.astype(np.float32)), "TIFF"), Refused("32-bit numbers")),
        "32 bit integers.tif": (encoded(Image.fromarray(numbers.astype(np.int32)), "TIFF"), Refused("32-bit numbers")),
    }


def _lab(picture: Image.Image) -> Image.Image:
    from PIL import ImageCms

    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.applyTransform(picture, ImageCms.buildTransform(*profiles, "RGB", "LAB"))


def _broken(picture: Image.Image) -> dict[str, tuple[bytes, Outcome]]:
    jpeg, png = encoded(picture, "JPEG", quality=95), bytearray(encoded(picture, "PNG"))
    webp, tiff = encoded(picture, "WEBP", lossless=True), encoded(picture, "TIFF", compression="tiff_lzw")
    half = bytes(png[: len(png) // 2])
    png[len(png) // 2] ^= 255
    return {
        "cut.jpg": (jpeg[: len(jpeg) // 2], Refused("truncated")),
        "cut by 200 bytes.jpg": (jpeg[:-200], Refused("truncated")),
        "only a head.jpg": (jpeg[:200], Refused("")),
        "cut.png": (half, Refused("truncated")),
        "cut.webp": (webp[: len(webp) // 2], Refused("")),
        "cut.bmp": (encoded(picture, "BMP")[:5000], Refused("truncated")),
        "cut.tif": (tiff[: len(tiff) // 2], Refused("")),
        "flipped byte.png": (bytes(png), Refused("corrupted")),
        "empty.jpg": (b"", Refused("empty file")),
        "bomb.png": (raw_png(2, 8, b"\0", (60_000, 60_000)), Refused("too many pixels")),
        "no size.png": (raw_png(2, 8, b"\0", (0, 0)), Refused("")),
    }


def _no_images(picture: Image.Image) -> dict[str, tuple[bytes, Outcome]]:
    refused = {
        "zeros.jpg": b"\0" * 4000,
        "text.png": b"This is no picture.\n",
        "web page.jpg": b"\n<!DOCTYPE html><html>Not found</html>",
        "gif called jpg.jpg": encoded(picture, "GIF"),
        "pdf called png.png": encoded(picture, "PDF"),
        "eps called jpg.jpg": encoded(picture, "EPS"),
        "zip called jpg.jpg": b"PK\x03\x04" + b"\0" * 100,
        "photoshop called tif.tif": b"8BPS\0\1" + b"\0" * 100,
    }
    ignored = {
        "picture.gif": encoded(picture, "GIF"),
        "picture.heic": b"\0\0\0\x18ftypheic",
        "notes.txt": b"notes",
        "Thumbs.db": b"\xd0\xcf\x11\xe0",
        ".DS_Store": b"\0\0\0\1Bud1",
        "._baseline.jpg": b"\0\5\x16\7",
        "__MACOSX/._baseline.jpg": b"\0\5\x16\7",
        "no suffix": encoded(picture, "PNG"),
    }
    outcomes = dict.fromkeys(refused, Refused("not a JPEG")) | dict.fromkeys(ignored, IGNORED)
    return {name: (content, outcomes[name]) for name, content in (refused | ignored).items()}


LINKS: dict[str, tuple[Callable[[Path], None], Outcome]] = {
    "link.jpg": (lambda path: path.symlink_to(path.parent / "baseline.jpg"), Right(6)),
    "broken link.jpg": (lambda path: path.symlink_to(path.parent / "gone.jpg"), Refused("no such file")),
    "link to itself.jpg": (lambda path: path.symlink_to(path), Refused("symbolic links")),
    "circle": (lambda path: path.symlink_to(path.parent, target_is_directory=True), IGNORED),
    "folder.jpg": (lambda path: path.mkdir(), IGNORED),
    "pipe.jpg": (lambda path: os.mkfifo(path), Refused("not a regular file")),
}
"""What is in a folder without being a file of its own."""


def make_hostile_folder(folder: Path) -> dict[str, Outcome]:
    """Writes all of them, and one twice; returns what should become of each."""
    files = hostile_files()
    files["copy of rgb.png"] = files["rgb.png"]
    for name, (content, _) in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for name, (make, _) in LINKS.items():
        make(folder / name)
    return {name: outcome for name, (_, outcome) in (files | LINKS).items()}

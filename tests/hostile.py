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


@dataclass(frozen=True)
class Ignored:
    """Is not taken for an image at all."""


Outcome = Right | Refused | Ignored


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


def hostile_files() -> dict[str, tuple[bytes, Outcome]]:
    """Files by name: their bytes, and what should become of them."""
    return _jpegs() | _pngs() | _others() | _broken() | _no_images()


def _turned(picture: Image.Image, orientation: int, format: str, **how: object) -> bytes:
    """A file that shows the picture only if its EXIF orientation is followed."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    turned = picture if orientation == 1 else picture.transpose(UNDO[orientation - 2])
    return encoded(turned, format, exif=exif, **how)


def _jpegs() -> dict[str, tuple[bytes, Outcome]]:
    picture, black = reference(), Image.new("RGB", (WIDTH, HEIGHT), "black")
    fine = {"quality": 95, "subsampling": 0}
    plain = encoded(picture, "JPEG", **fine)
    mpo = encoded(picture, "MPO", save_all=True, append_images=[black], **fine)
    files: dict[str, tuple[bytes, Outcome]] = {
        "baseline.jpg": (plain, Right(6)),
        "progressive.JPEG": (encoded(picture, "JPEG", **fine, progressive=True), Right(6)),
        "subsampled 4-2-0.jpe": (encoded(picture, "JPEG", quality=95, subsampling=2), Right(10)),
        "restart markers.jfif": (encoded(picture, "JPEG", quality=95, restart_marker_blocks=3), Right(10)),
        "grey.jpg": (encoded(picture.convert("L"), "JPEG", quality=95), Right(4, grey=True)),
        "cmyk.jpg": (encoded(picture.convert("CMYK"), "JPEG", quality=95), Right(8)),
        "trailing garbage.jpg": (plain + b"\0garbage" * 50, Right(6)),
        "two pictures (mpo).jpg": (mpo, Right(6)),
        "corrupt exif.jpg": (encoded(picture, "JPEG", **fine, exif=b"Exif\0\0II*\0\xff\xff"), Right(6)),
    }
    for orientation in range(1, 9):
        files[f"exif/orientation {orientation}.jpg"] = _turned(picture, orientation, "JPEG", **fine), Right(6)
    return files


def _pngs() -> dict[str, tuple[bytes, Outcome]]:
    picture = reference()
    few = picture.quantize(256)
    hidden = picture.convert("RGBA")
    holes = np.array(hidden)
    holes[: HEIGHT // 2, :, 3] = 0
    holes[: HEIGHT // 2, :, :3] = [255, 0, 255]  # a colour that nobody should see
    deep = np.asarray(picture.convert("L")).astype(np.uint16) * 257
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "much " * 10_000, zip=True)
    return {
        "rgb.png": (encoded(picture, "PNG"), Right()),
        "rgb called jpg.jpg": (encoded(picture, "PNG"), Right()),
        "palette.png": (encoded(few, "PNG"), Right(24)),
        "palette, one entry transparent.png": (encoded(few, "PNG", transparency=255), Right(255)),
        "1 bit.png": (encoded(picture.convert("1"), "PNG"), Right(255)),
        "grey.png": (encoded(picture.convert("L"), "PNG"), Right(0, grey=True)),
        "grey and alpha.png": (encoded(picture.convert("LA"), "PNG"), Right(0, grey=True)),
        "opaque alpha.png": (encoded(hidden, "PNG"), Right()),
        "half transparent.png": (encoded(Image.fromarray(holes), "PNG"), Right(255)),
        "transparent colour.png": (encoded(picture, "PNG", transparency=(255, 0, 255)), Right()),
        "16 bit grey.png": (encoded(Image.fromarray(deep), "PNG"), Right(0, grey=True)),
        "16 bit rgb.png": (_png16(picture), Right(1)),
        "animated.png": (_animated(picture, "PNG"), Right()),
        "turned by exif.png": (_turned(picture, 6, "PNG"), Right()),
        "long text.png": (encoded(picture, "PNG", pnginfo=info), Right()),
    }


def _png16(picture: Image.Image) -> bytes:
    """RGB of 16 bits, which Pillow cannot write."""
    deep = (np.asarray(picture).astype(">u2") * 257).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    return raw_png(2, 16, rows, picture.size)


def raw_png(colour: int, bits: int, rows: bytes, size: tuple[int, int]) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _animated(picture: Image.Image, format: str) -> bytes:
    frames = [Image.new("RGB", picture.size, "black")] * 2
    how = {"lossless": True} if format == "WEBP" else {}
    return encoded(picture, format, save_all=True, append_images=frames, **how)


def _others() -> dict[str, tuple[bytes, Outcome]]:
    picture = reference()
    grey = picture.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    numbers = np.asarray(grey)
    return {
        "lossless.webp": (encoded(picture, "WEBP", lossless=True), Right()),
        "lossy.webp": (encoded(picture, "WEBP", quality=95), Right(10)),
        "alpha.webp": (encoded(picture.convert("RGBA"), "WEBP", lossless=True), Right()),
        "animated.webp": (_animated(picture, "WEBP"), Right()),
        "turned by exif.webp": (_turned(picture, 3, "WEBP", lossless=True), Right()),
        "24 bit.bmp": (encoded(picture, "BMP"), Right()),
        "8 bit.BMP": (encoded(grey, "BMP"), Right(0, grey=True)),
        "32 bit.dib": (encoded(picture.convert("RGBA"), "DIB"), Right()),
        "plain.tif": (encoded(picture, "TIFF"), Right()),
        "lzw.tiff": (encoded(picture, "TIFF", compression="tiff_lzw"), Right()),
        "deflate.tiff": (encoded(picture, "TIFF", compression="tiff_adobe_deflate"), Right()),
        "jpeg in tiff.tif": (encoded(picture, "TIFF", compression="jpeg", quality=95), Right(10)),
        "cmyk.tif": (encoded(picture.convert("CMYK"), "TIFF"), Right(1)),
        "lab.tif": (encoded(_lab(picture), "TIFF"), Right(20)),
        "16 bit grey.tif": (encoded(deep, "TIFF"), Right(0, grey=True)),
        "16 bit grey, big endian.tif": (_big_endian(deep), Right(0, grey=True)),
        "two pages.tif": (encoded(picture, "TIFF", save_all=True, append_images=[grey]), Right()),
        "turned by exif.tif": (_turned(picture, 3, "TIFF"), Right()),
        "floats.tif": (encoded(Image.fromarray(numbers.astype(np.float32)), "TIFF"), Refused("32-bit numbers")),
        "32 bit integers.tif": (encoded(Image.fromarray(numbers.astype(np.int32)), "TIFF"), Refused("32-bit numbers")),
        "one pixel.png": (encoded(picture.crop((0, 0, 1, 1)), "PNG"), Right(0, size=(1, 1))),
        "thin.png": (encoded(picture.crop((0, 0, 1, 100)), "PNG"), Right(0, size=(1, 100))),
        "deep/er/and/deeper/still.png": (encoded(picture, "PNG"), Right()),
        "spaces and \U0001f642 and\nnewline.png": (encoded(picture, "PNG"), Right()),
        os.fsdecode(b"not utf-8 \xff.png"): (encoded(picture, "PNG"), Right()),
    }


def _lab(picture: Image.Image) -> Image.Image:
    from PIL import ImageCms

    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.applyTransform(picture, ImageCms.buildTransform(*profiles, "RGB", "LAB"))


def _big_endian(deep: Image.Image) -> bytes:
    """A minimal TIFF of one strip, most significant byte first."""
    pixels = np.asarray(deep).astype(">u2").tobytes()
    entries = [(256, WIDTH), (257, HEIGHT), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, HEIGHT)]
    entries.append((279, len(pixels)))
    directory = struct.pack(">H", len(entries))
    directory += b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in entries) + b"\0\0\0\0"
    return b"MM\0*" + struct.pack(">I", 8 + len(pixels)) + pixels + directory


def _broken() -> dict[str, tuple[bytes, Outcome]]:
    picture = reference()
    jpeg, png = encoded(picture, "JPEG", quality=95), encoded(picture, "PNG")
    webp, tiff = encoded(picture, "WEBP", lossless=True), encoded(picture, "TIFF", compression="tiff_lzw")
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 255
    return {
        "cut.jpg": (jpeg[: len(jpeg) // 2], Refused("truncated")),
        "cut by 200 bytes.jpg": (jpeg[:-200], Refused("truncated")),
        "only a head.jpg": (jpeg[:200], Refused("")),
        "cut.png": (png[: len(png) // 2], Refused("truncated")),
        "cut.webp": (webp[: len(webp) // 2], Refused("")),
        "cut.bmp": (encoded(picture, "BMP")[:5000], Refused("truncated")),
        "cut.tif": (tiff[: len(tiff) // 2], Refused("")),
        "flipped byte.png": (bytes(flipped), Refused("corrupted")),
        "empty.jpg": (b"", Refused("empty file")),
        "zeros.jpg": (b"\0" * 4000, Refused("not a JPEG")),
        "bomb.png": (raw_png(2, 8, b"\0", (60_000, 60_000)), Refused("too many pixels")),
        "no size.png": (raw_png(2, 8, b"\0", (0, 0)), Refused("")),
    }


def _no_images() -> dict[str, tuple[bytes, Outcome]]:
    picture = reference()
    return {
        "text.png": (b"This is no picture.\n", Refused("not a JPEG")),
        "web page.jpg": (b"\n<!DOCTYPE html><html>Not found</html>", Refused("not a JPEG")),
        "gif called jpg.jpg": (encoded(picture, "GIF"), Refused("not a JPEG")),
        "pdf called png.png": (encoded(picture, "PDF"), Refused("not a JPEG")),
        "eps called jpg.jpg": (encoded(picture, "EPS"), Refused("not a JPEG")),
        "zip called jpg.jpg": (b"PK\x03\x04" + b"\0" * 100, Refused("not a JPEG")),
        "photoshop called tif.tif": (b"8BPS\0\1" + b"\0" * 100, Refused("not a JPEG")),
        "picture.gif": (encoded(picture, "GIF"), Ignored()),
        "picture.heic": (b"\0\0\0\x18ftypheic", Ignored()),
        "notes.txt": (b"notes", Ignored()),
        "Thumbs.db": (b"\xd0\xcf\x11\xe0", Ignored()),
        ".DS_Store": (b"\0\0\0\1Bud1", Ignored()),
        "._baseline.jpg": (b"\0\5\x16\7", Ignored()),
        "__MACOSX/._baseline.jpg": (b"\0\5\x16\7", Ignored()),
        "no suffix": (encoded(picture, "PNG"), Ignored()),
    }


def _links() -> dict[str, tuple[Callable[[Path], None], Outcome]]:
    """What is in a folder without being a file of its own."""
    return {
        "link.jpg": (lambda path: path.symlink_to(path.parent / "baseline.jpg"), Right(6)),
        "broken link.jpg": (lambda path: path.symlink_to(path.parent / "gone.jpg"), Refused("no such file")),
        "link to itself.jpg": (lambda path: path.symlink_to(path), Refused("symbolic links")),
        "circle": (lambda path: path.symlink_to(path.parent, target_is_directory=True), Ignored()),
        "folder.jpg": (lambda path: path.mkdir(), Ignored()),
        "pipe.jpg": (lambda path: os.mkfifo(path), Refused("not a regular file")),
    }


def make_hostile_folder(folder: Path) -> dict[str, Outcome]:
    """Writes all of them, and one twice; returns what should become of each."""
    outcomes: dict[str, Outcome] = {}
    for name, (content, outcome) in hostile_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        outcomes[name] = outcome
    (folder / "copy of rgb.png").write_bytes((folder / "rgb.png").read_bytes())
    outcomes["copy of rgb.png"] = Right()
    for name, (make, outcome) in _links().items():
        make(folder / name)
        outcomes[name] = outcome
    return outcomes

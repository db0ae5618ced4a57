"""The same labelled faces, written as every layout that CelebA is found in."""

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.hostile import encoded

COUNT = 24
SPLIT_WORDS = ("train", "valid", "test")
Files = dict[str, bytes | list[str]]
"""Contents, or lines, by name."""


@dataclass
class Album:
    """Encoded images with CelebA's labels; names are six digits, counted from 1."""

    jpegs: list[bytes]
    names: tuple[str, ...]
    values: NDArray[np.bool_]
    split: NDArray[np.int8]
    identities: NDArray[np.int64]

    @property
    def files(self) -> list[str]:
        return [f"{i + 1:06d}.jpg" for i in range(len(self.jpegs))]

    def attribute_lines(self, files: list[str] | None = None) -> list[str]:
        rows = zip(files or self.files, self.values, strict=True)
        body = [f"{name} {' '.join(f'{1 if value else -1:2d}' for value in row)}" for name, row in rows]
        return [str(len(body)), " ".join(self.names) + " ", *body]

    def partition_lines(self) -> list[str]:
        return [f"{name} {split}" for name, split in zip(self.files, self.split, strict=True)]

    def identity_lines(self) -> list[str]:
        return [f"{name} {person}" for name, person in zip(self.files, self.identities, strict=True)]

    def lists(self) -> Files:
        return {"list_attr_celeba.txt": self.attribute_lines(), "list_eval_partition.txt": self.partition_lines()}

    def images(self, folder: str = "img_align_celeba", files: list[str] | None = None) -> Files:
        return {f"{folder}/{name}": data for name, data in zip(files or self.files, self.jpegs, strict=True)}


def jpeg(seed: int, width: int = 178, height: int = 218) -> bytes:
    """A smooth picture, another one for each seed."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return encoded(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC), "JPEG", quality=90)


def as_png(data: bytes) -> bytes:
    return encoded(Image.open(io.BytesIO(data)), "PNG", compress_level=1)


def small_album() -> Album:
    random = np.random.default_rng(0)
    return Album(
        [jpeg(i) for i in range(COUNT)],
        tuple(f"Attribute_{i}" for i in range(40)),
        random.random((COUNT, 40)) < 0.3,
        np.array([0] * 16 + [1] * 3 + [2] * 5, np.int8),
        np.arange(COUNT) // 2 + 1,
    )


def content_of(content: bytes | list[str]) -> bytes:
    return content if isinstance(content, bytes) else "".join(f"{line}\n" for line in content).encode()


def write(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content_of(content))
    return folder


def write_images(folder: Path, album: Album, files: list[str] | None = None) -> None:
    write(folder, album.images(".", files))


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    write(path.parent, {path.name: table(header, rows)})


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """The lines of a CSV file."""
    return [",".join(map(str, row)) for row in (header, *rows)]


def zipped(files: Files) -> bytes:
    """A zip of files in an order of its own and with a foreign member."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in sorted(files, reverse=True):
            packed.writestr(name, content_of(files[name]))
        packed.writestr("__MACOSX/img_align_celeba/._000001.jpg", b"not an image")
    return archive.getvalue()


def official_folder(root: Path, album: Album) -> Path:
    return write(root, album.images() | album.lists())


def official_zip(root: Path, album: Album) -> Path:
    return write(root, {"img_align_celeba.zip": zipped(album.images())} | album.lists())


def published_tree(root: Path, album: Album) -> Path:
    """``Img``, ``Anno`` and ``Eval``, as on the project's drive."""
    lists = {
        "Anno/list_attr_celeba.txt": album.attribute_lines(),
        "Anno/identity_CelebA.txt": album.identity_lines(),
        "Eval/list_eval_partition.txt": album.partition_lines(),
    }
    return write(root / "CelebA", {"Img/img_align_celeba.zip": zipped(album.images())} | lists)


def torchvision_folder(root: Path, album: Album) -> Path:
    """What ``torchvision.datasets.CelebA(root)`` leaves."""
    boxes = [str(COUNT), "image_id x_1 y_1 width height", *(f"{name} 95 71 226 313" for name in album.files)]
    others = {"identity_CelebA.txt": album.identity_lines(), "list_bbox_celeba.txt": boxes}
    return write(root / "celeba", album.images() | album.lists() | others).parent


def png_folder(root: Path, album: Album) -> Path:
    """The lossless variant, whose files are png while the lists say jpg."""
    images = album.images("img_align_celeba_png").items()
    return write(root, {name.replace("jpg", "png"): as_png(data) for name, data in images} | album.lists())


def kaggle(album: Album) -> Files:
    """Images one folder deeper than expected, and the lists as CSV."""
    attributes = [line.split() for line in album.attribute_lines()[2:]]
    boxes = [[name, 95, 71, 226, 313] for name in album.files]
    return album.images("img_align_celeba/img_align_celeba") | {
        "list_attr_celeba.csv": table(["image_id", *album.names], attributes),
        "list_eval_partition.csv": table(["image_id", "partition"], [one.split() for one in album.partition_lines()]),
        "list_bbox_celeba.csv": table(["image_id", "x_1", "y_1", "width", "height"], boxes),
    }


def kaggle_folder(root: Path, album: Album) -> Path:
    return write(root, kaggle(album))


def kaggle_zip(root: Path, album: Album) -> Path:
    return write(root, {"celeba-dataset.zip": zipped(kaggle(album))}) / "celeba-dataset.zip"


def hugging_face(root: Path, album: Album) -> Path:
    """Parquet shards of PNG images, several row groups each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (root / "img_align+identity+attr").mkdir(parents=True)
    for place, word in enumerate(SPLIT_WORDS):
        shards = np.array_split(np.flatnonzero(album.split == place), 2 if place == 0 else 1)
        for number, rows in enumerate(shards):
            images = [{"bytes": as_png(album.jpegs[i]), "path": None} for i in rows]
            encoded = pa.struct({"bytes": pa.binary(), "path": pa.string()})
            columns = {"image": pa.array(images, encoded), "celeb_id": album.identities[rows]}
            columns |= {name: album.values[rows, k] for k, name in enumerate(album.names)}
            name = f"{word}-{number:05d}-of-{len(shards):05d}.parquet"
            pq.write_table(pa.table(columns), root / "img_align+identity+attr" / name, row_group_size=5)
    return root


def celeba_hq(root: Path, album: Album) -> Path:
    """Numbered images with the mapping to CelebA, whose lists are beside."""
    numbered = [f"{i:05d}.jpg" for i in range(len(album.jpegs))]
    mapping = ["idx     orig_idx    orig_file", *(f"{i:<8}{i:<12}{name}" for i, name in enumerate(album.files))]
    lists = album.lists() | {"CelebA-HQ-to-CelebA-mapping.txt": mapping}
    return write(root, album.images("celeba_hq_256", numbered) | lists)


def celeba_mask_hq(root: Path, album: Album) -> Path:
    """CelebAMask-HQ: attributes by number, masks to be ignored; CelebA's partition put beside."""
    numbered = [f"{i}.jpg" for i in range(len(album.jpegs))]
    mapping = ["idx orig_idx orig_file", *(f"{i}     {i}      {name}" for i, name in enumerate(album.files))]
    others = {
        "CelebAMask-HQ-mask-anno/0/00000_skin.png": as_png(jpeg(0)),
        "CelebAMask-HQ-attribute-anno.txt": [s.replace(".jpg ", ".jpg  ") for s in album.attribute_lines(numbered)],
        "CelebA-HQ-to-CelebA-mapping.txt": mapping,
        "list_eval_partition.txt": album.partition_lines(),
    }
    return write(root / "CelebAMask-HQ", album.images("CelebA-HQ-img", numbered) | others)


def folder_with_csv(root: Path, album: Album) -> Path:
    """Any folder of images, a CSV file of attributes and splits beside it."""
    words = [SPLIT_WORDS[place] for place in album.split]
    rows = [[n, w, *map(int, row)] for n, w, row in zip(album.files, words, album.values, strict=True)]
    write(root, album.images("faces") | {"faces.csv": table(["file_name", "split", *album.names], rows)})
    return root / "faces"


def folder_of_splits(root: Path, album: Album) -> Path:
    """A folder for each split, and a CSV file within of the attributes alone."""
    files = [f"{SPLIT_WORDS[place]}/{name}" for place, name in zip(album.split, album.files, strict=True)]
    rows = [[name, *np.where(row, "True", "False")] for name, row in zip(files, album.values, strict=True)]
    return write(root, album.images(".", files) | {"metadata.csv": table(["file_name", *album.names], rows)})


LAYOUTS: dict[str, Callable[[Path, Album], Path]] = {
    function.__name__: function
    for function in (
        *(official_folder, official_zip, published_tree, torchvision_folder, png_folder, kaggle_folder, kaggle_zip),
        *(hugging_face, celeba_hq, celeba_mask_hq, folder_with_csv, folder_of_splits),
    )
}

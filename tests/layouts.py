"""The same labelled faces, written as every layout that CelebA is found in."""

import csv
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COUNT = 24
SPLIT_WORDS = ("train", "valid", "test")


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


def jpeg(seed: int, width: int = 178, height: int = 218) -> bytes:
    """A smooth picture, another one for each seed."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def small_album() -> Album:
    random = np.random.default_rng(0)
    return Album(
        [jpeg(i) for i in range(COUNT)],
        tuple(f"Attribute_{i}" for i in range(40)),
        random.random((COUNT, 40)) < 0.3,
        np.array([0] * 16 + [1] * 3 + [2] * 5, np.int8),
        np.arange(COUNT) // 2 + 1,
    )


def write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_lists(folder: Path, album: Album) -> None:
    write_lines(folder / "list_attr_celeba.txt", album.attribute_lines())
    write_lines(folder / "list_eval_partition.txt", album.partition_lines())


def write_csv(path: Path, header: list[str], rows: list[list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write_images(folder: Path, album: Album, files: list[str] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in zip(files or album.files, album.jpegs, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def pack(folder: Path, archive: Path, *, but: tuple[str, ...] = ()) -> None:
    """A zip of all files of a folder, in an order of its own and with a foreign member."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.name not in but:
                packed.write(path, path.relative_to(folder))
        packed.writestr("__MACOSX/img_align_celeba/._000001.jpg", b"not an image")


def official_folder(root: Path, album: Album) -> Path:
    write_lists(root, album)
    write_images(root / "img_align_celeba", album)
    return root


def official_zip(root: Path, album: Album) -> Path:
    write_lists(root, album)
    write_images(root / "unpacked" / "img_align_celeba", album)
    pack(root / "unpacked", root / "img_align_celeba.zip")
    for path in (root / "unpacked").rglob("*.jpg"):
        path.unlink()
    return root


def published_tree(root: Path, album: Album) -> Path:
    """``Img``, ``Anno`` and ``Eval``, as on the project's drive."""
    write_images(root / "packed" / "img_align_celeba", album)
    pack(root / "packed", root / "CelebA" / "Img" / "img_align_celeba.zip")
    write_lines(root / "CelebA" / "Anno" / "list_attr_celeba.txt", album.attribute_lines())
    write_lines(root / "CelebA" / "Anno" / "identity_CelebA.txt", album.identity_lines())
    write_lines(root / "CelebA" / "Eval" / "list_eval_partition.txt", album.partition_lines())
    return root / "CelebA"


def torchvision_folder(root: Path, album: Album) -> Path:
    """What ``torchvision.datasets.CelebA(root)`` leaves."""
    official_folder(root / "celeba", album)
    write_lines(root / "celeba" / "identity_CelebA.txt", album.identity_lines())
    boxes = [f"{name} 95 71 226 313" for name in album.files]
    write_lines(root / "celeba" / "list_bbox_celeba.txt", [str(len(boxes)), "image_id x_1 y_1 width height", *boxes])
    return root


def png_folder(root: Path, album: Album) -> Path:
    """The lossless variant, whose files are png while the lists say jpg."""
    write_lists(root, album)
    (root / "img_align_celeba_png").mkdir(parents=True)
    for name, content in zip(album.files, album.jpegs, strict=True):
        Image.open(io.BytesIO(content)).save(root / "img_align_celeba_png" / name.replace("jpg", "png"))
    return root


def kaggle_folder(root: Path, album: Album) -> Path:
    """Images one folder deeper than expected, and the lists as csv."""
    write_images(root / "img_align_celeba" / "img_align_celeba", album)
    rows = [[name, *np.where(row, 1, -1)] for name, row in zip(album.files, album.values, strict=True)]
    write_csv(root / "list_attr_celeba.csv", ["image_id", *album.names], rows)
    rows = [[name, split] for name, split in zip(album.files, album.split, strict=True)]
    write_csv(root / "list_eval_partition.csv", ["image_id", "partition"], rows)
    boxes = [[name, 95, 71, 226, 313] for name in album.files]
    write_csv(root / "list_bbox_celeba.csv", ["image_id", "x_1", "y_1", "width", "height"], boxes)
    return root


def kaggle_zip(root: Path, album: Album) -> Path:
    kaggle_folder(root / "unpacked", album)
    pack(root / "unpacked", root / "celeba-dataset.zip")
    return root / "celeba-dataset.zip"


def hugging_face(root: Path, album: Album) -> Path:
    """Parquet shards of PNG images, several row groups each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (root / "img_align+identity+attr").mkdir(parents=True)
    for place, word in enumerate(SPLIT_WORDS):
        chosen = np.flatnonzero(album.split == place)
        shards = np.array_split(chosen, 2 if place == 0 else 1)
        for number, rows in enumerate(shards):
            images = []
            for i in rows:
                png = io.BytesIO()
                Image.open(io.BytesIO(album.jpegs[i])).save(png, "PNG", compress_level=1)
                images.append({"bytes": png.getvalue(), "path": None})
            encoded = pa.struct({"bytes": pa.binary(), "path": pa.string()})
            columns = {"image": pa.array(images, encoded), "celeb_id": album.identities[rows]}
            columns |= {name: album.values[rows, k] for k, name in enumerate(album.names)}
            name = f"{word}-{number:05d}-of-{len(shards):05d}.parquet"
            pq.write_table(pa.table(columns), root / "img_align+identity+attr" / name, row_group_size=5)
    return root


def celeba_hq(root: Path, album: Album) -> Path:
    """Numbered images with the mapping to CelebA, whose lists lie beside."""
    write_images(root / "celeba_hq_256", album, [f"{i:05d}.jpg" for i in range(len(album.jpegs))])
    lines = [f"{i:<8}{i:<12}{name}" for i, name in enumerate(album.files)]
    write_lines(root / "CelebA-HQ-to-CelebA-mapping.txt", ["idx     orig_idx    orig_file", *lines])
    write_lists(root, album)
    return root


def celeba_mask_hq(root: Path, album: Album) -> Path:
    """CelebAMask-HQ: attributes by number, masks to be passed over; CelebA's partition put beside."""
    root = root / "CelebAMask-HQ"
    numbered = [f"{i}.jpg" for i in range(len(album.jpegs))]
    write_images(root / "CelebA-HQ-img", album, numbered)
    (root / "CelebAMask-HQ-mask-anno" / "0").mkdir(parents=True)
    Image.new("L", (512, 512)).save(root / "CelebAMask-HQ-mask-anno" / "0" / "00000_skin.png")
    lines = [line.replace(".jpg ", ".jpg  ") for line in album.attribute_lines(numbered)]
    write_lines(root / "CelebAMask-HQ-attribute-anno.txt", lines)
    lines = [f"{i}     {i}      {name}" for i, name in enumerate(album.files)]
    write_lines(root / "CelebA-HQ-to-CelebA-mapping.txt", ["idx orig_idx orig_file", *lines])
    write_lines(root / "list_eval_partition.txt", album.partition_lines())
    return root


def folder_with_csv(root: Path, album: Album) -> Path:
    """Any folder of images, a csv of attributes and splits beside it."""
    write_images(root / "faces", album)
    words = [SPLIT_WORDS[place] for place in album.split]
    rows = [[n, w, *map(int, row)] for n, w, row in zip(album.files, words, album.values, strict=True)]
    write_csv(root / "faces.csv", ["file_name", "split", *album.names], rows)
    return root / "faces"


def folder_of_splits(root: Path, album: Album) -> Path:
    """A folder for each split, and a csv within of the attributes alone."""
    files = [f"{SPLIT_WORDS[place]}/{name}" for place, name in zip(album.split, album.files, strict=True)]
    write_images(root, album, files)
    rows = [[name, *np.where(row, "True", "False")] for name, row in zip(files, album.values, strict=True)]
    write_csv(root / "metadata.csv", ["file_name", *album.names], rows)
    return root


LAYOUTS = {
    function.__name__: function
    for function in (
        official_folder,
        official_zip,
        published_tree,
        torchvision_folder,
        png_folder,
        kaggle_folder,
        kaggle_zip,
        hugging_face,
        celeba_hq,
        celeba_mask_hq,
        folder_with_csv,
        folder_of_splits,
    )
}

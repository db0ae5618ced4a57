"""The files below a folder or inside a zip, by relative name."""

import errno
import hashlib
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn, Protocol

import numpy as np

from dfcvae.errors import UserError
from dfcvae.intake.decode import Undecodable

# What is wrong with one file, and not with the disk or the connection to it.
OF_ONE_FILE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)
LOCAL_HEAD = 30  # bytes of a zip member's own head before its name
LARGEST = 2**29  # bytes of one file: no picture needs more, and what claims to would fill the memory
TOO_LARGE = f"larger than {LARGEST // 2**20} MB"


class Tree(Protocol):
    """Files by name; cheap to send to another process in parts."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def names(self) -> tuple[str, ...]:
        """Relative, with slashes, in natural order; no hidden files, no folders."""

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            Undecodable: it cannot be had, for a reason that is its own.
        """

    def stamp(self, names: Iterable[str]) -> str:
        """A digest that changes when one of these files does; cheap, reads none."""


@dataclass(frozen=True)
class Folder:
    """Files below a folder, links followed."""

    path: Path
    names: tuple[str, ...]

    @classmethod
    def open(cls, path: Path) -> "Folder":
        """All files below a folder."""
        return cls(path, tuple(sorted(_walk(path), key=natural)))

    def read(self, name: str) -> bytes:
        """The content of a file."""
        return read_file(self.path / name)

    def stamp(self, names: Iterable[str]) -> str:
        """A digest of sizes and times of change."""
        # To read 200,000 files just for this would take long: size and time of change stand for the content.
        digest = hashlib.sha256()
        for name in names:
            try:
                status = os.stat(self.path / name)
                readable = os.access(self.path / name, os.R_OK)
                digest.update(f"{status.st_size} {status.st_mtime_ns} {readable}\n".encode())
            except OSError:
                digest.update(b"gone\n")
        return digest.hexdigest()


class Member(NamedTuple):
    """Where a member of a zip lies, and how; a fraction of the size of zipfile's own record."""

    offset: int
    size: int
    unpacked: int
    method: int
    crc: int
    encrypted: bool


@dataclass(frozen=True)
class Zip:
    """Members of a zip, read in place."""

    path: Path
    members: Mapping[str, Member]

    @classmethod
    def open(cls, path: Path) -> "Zip":
        """All members of a zip.

        Raises:
            UserError: it is no zip, or cut short.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                members = {info.filename: _member(info) for info in archive.infolist() if not info.is_dir()}
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            with open(path, "rb") as file:
                page = file.read(256).lstrip().lower().startswith((b"<!doctype", b"<html"))
            hint = " It is a web page: the download was refused (Google Drive's quota does this)." if page else ""
            raise UserError(f"{path} is not a complete zip file ({error}).{hint} Download it again.") from error
        return cls(path, {name: members[name] for name in sorted(filter(_is_visible, members), key=natural)})

    @property
    def names(self) -> tuple[str, ...]:
        """Of the members."""
        return tuple(self.members)

    def read(self, name: str) -> bytes:
        """The content of a member."""
        # Not through ZipFile, which would have each process read the list of 200,000 members again.
        member = self.members[name]
        if member.encrypted:
            raise Undecodable("encrypted in the zip")
        if member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Undecodable(f"compressed in the zip by method {member.method}, which is not read here")
        if max(member.size, member.unpacked) > LARGEST:
            raise Undecodable(TOO_LARGE)
        try:
            with open(self.path, "rb") as file:
                file.seek(member.offset)
                head = file.read(LOCAL_HEAD)
                file.seek(int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little"), os.SEEK_CUR)
                data = file.read(member.size)
        except OSError as error:
            raise _disk_fault(self.path, error) from error
        content = _inflated(data, member.unpacked) if member.method else data
        if zlib.crc32(content) != member.crc:
            raise Undecodable("damaged in the zip: its checksum is another")
        return content

    def stamp(self, names: Iterable[str]) -> str:
        """A digest of the checksums that the zip keeps."""
        # Not of places or times: a zip moved, or packed anew from the same files, is the same data.
        checksums = [self.members[name].crc for name in names]
        return hashlib.sha256(np.array(checksums, np.uint32).tobytes()).hexdigest()


@dataclass(frozen=True)
class TreeImages:
    """Some files of a tree, by number."""

    tree: Tree
    names: tuple[str, ...]

    def read(self, i: int) -> bytes:
        """The encoded image ``i``."""
        return self.tree.read(self.names[i])

    def stamp(self) -> str:
        """A digest that changes when an image does."""
        return self.tree.stamp(self.names)


def read_file(path: Path) -> bytes:
    """The content of a file.

    Raises:
        Undecodable: it is none, too large a one, or cannot be had for another reason that is its own.
        UserError: the disk, or the connection to it, has a fault.
    """
    try:
        with open(path, "rb", opener=_open_regular) as file:
            return file.read()
    except OSError as error:
        if error.errno in OF_ONE_FILE:
            raise Undecodable(str(error.strerror).lower()) from error
        raise _disk_fault(path, error) from error


def open_tree(path: Path) -> Tree:
    """A folder or a zip.

    Raises:
        UserError: it is neither, or cannot be listed.
    """
    return Folder.open(path) if path.is_dir() else Zip.open(path)


def natural(name: str) -> list[str | tuple[int, str]]:
    """A sorting key with numbers by value: 9.jpg before 10.jpg."""
    parts = enumerate(re.split("([0-9]+)", name))
    # by length and digits, as Python refuses to make an integer of some thousand digits
    return [(len(part.lstrip("0")), part.lstrip("0")) if i % 2 else part for i, part in parts]


def _walk(root: Path) -> Iterator[str]:
    def refuse(error: OSError) -> NoReturn:
        raise UserError(f"The folder {error.filename} cannot be listed ({error.strerror}). Check its permissions.")

    seen: set[tuple[int, int]] = set()  # links may lead in circles
    for folder, folders, files in os.walk(root, onerror=refuse, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(filter(_is_visible, folders))
        prefix = os.path.relpath(folder, root)
        prefix = "" if prefix == os.curdir else prefix.replace(os.sep, "/") + "/"
        yield from (prefix + name for name in files if _is_visible(name))


def _is_visible(name: str) -> bool:
    """Not what macOS, Windows or a version control system puts beside files."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _disk_fault(path: Path, error: OSError) -> UserError:
    return UserError(f"{path} could not be read ({error.strerror}). Check the disk or the connection to it.")


def _member(info: zipfile.ZipInfo) -> Member:
    encrypted = bool(info.flag_bits & 1)
    return Member(info.header_offset, info.compress_size, info.file_size, info.compress_type, info.CRC, encrypted)


def _inflated(data: bytes, size: int) -> bytes:
    """Deflated data that should have so many bytes: not more than these are unpacked, whatever comes after them."""
    try:
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
    except zlib.error as error:
        raise Undecodable(f"damaged in the zip: {error}") from error
    if len(content) > size:
        raise Undecodable("damaged in the zip: longer than it says")
    return content


def _open_regular(path: str, flags: int) -> int:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):  # to open a pipe would wait for its other end for ever
        raise Undecodable("not a regular file")
    if status.st_size > LARGEST:
        raise Undecodable(TOO_LARGE)
    return os.open(path, flags)

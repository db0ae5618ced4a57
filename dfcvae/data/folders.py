"""Sets of encoded images, and the folders and zips that their files are in."""

import errno
import hashlib
import os
import re
import stat
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dfcvae.data.decode import Undecodable
from dfcvae.errors import UserError
from dfcvae.files import LFS_HINT, is_lfs_pointer

# Errors of a single file, not of the disk or the connection to it.
OF_ONE_FILE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)
LARGEST = 2**29  # bytes of one file: no picture needs more, and one that claims to would fill the memory
NO_DATA = {"__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "system volume information", "lost+found"}
NO_DATA |= {"thumbs.db", "desktop.ini"}
"""What systems, network drives and archives put beside the data: thumbnails, deleted pictures, settings."""

TOO_LARGE = f"larger than {LARGEST // 2**20} MB"


class Files(Protocol):
    """Encoded images in a folder, a zip or parquet files; cheap to send to another process."""

    def read(self, member: Any) -> bytes: ...  # raises `Undecodable` if this file cannot be read

    def stamp(self, members: Sequence[Any]) -> str: ...  # a digest that changes when an image does; decodes nothing


@dataclass(frozen=True)
class ImageSet:
    """Images in a fixed order, with labels and splits."""

    path: Path  # a folder, a zip or a parquet file
    layout: str  # what it was recognised as
    files: Files
    filenames: tuple[str, ...]  # of n images
    members: Sequence[Any]  # what `files` calls each of them
    attributes: NDArray[np.bool_]  # (n, A); A is 0 where nothing is known
    names: tuple[str, ...]  # of the A attributes
    split: NDArray[np.int8]  # (n,), indices into `SPLITS`
    missing: tuple[str, ...] = ()  # names that are listed but not on the disk
    about: tuple[tuple[str, str], ...] = ()  # further findings as (what, which), for people to read
    official: tuple[int, int, int] | None = None  # counts of train, val and test in the full data set, where known

    def __len__(self) -> int:
        return len(self.filenames)

    def read(self, i: int) -> bytes:
        """The encoded image ``i``; raises `Undecodable` if it cannot be read."""
        return self.files.read(self.members[i])


RUN = {"checkpoints", "config.yaml", "metrics.csv"}  # what a run folder holds


class Folder:
    """Files below a folder, links followed, without run folders; a UserError if a folder cannot be listed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        names: list[str] = []
        seen: set[tuple[int, int]] = set()  # links may form cycles
        for folder, folders, files in os.walk(path, onerror=_unlisted, followlinks=True):
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            if {*folders, *files} >= RUN:  # its pictures would become training images
                folders.clear()
                continue
            folders[:] = sorted(filter(_is_visible, folders))
            below = Path(folder).relative_to(path)
            names += [(below / name).as_posix() for name in files if _is_visible(name)]
        self.names = sorted(names, key=natural)  # relative, with slashes; no hidden files, no folders

    def read(self, name: str) -> bytes:
        """The content of a file."""
        return read_file(self.path / name)

    def stamp(self, names: Sequence[str]) -> str:
        """A digest of the sizes and modification times of some files, in place of their contents."""
        digest = hashlib.sha256()
        for name in names:
            try:
                status = os.stat(self.path / name)
                readable = os.access(self.path / name, os.R_OK)
                digest.update(f"{status.st_size} {status.st_mtime_ns} {readable}\n".encode())
            except OSError:
                digest.update(b"gone\n")
        return digest.hexdigest()


class Zip:
    """Members of a zip, read in place; a UserError if it is not a complete one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._owner = -1
        try:
            members = [info.filename for info in self._archive().infolist()]
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            if is_lfs_pointer(path):
                raise UserError(f"{path} is not a zip file. {LFS_HINT}") from error
            with open(path, "rb") as file:
                page = file.read(256).lstrip().lower().startswith((b"<!doctype", b"<html"))
            hint = " It is a web page: the download was refused (Google Drive's quota does this)." if page else ""
            raise UserError(f"{path} is not a complete zip file ({error}).{hint} Download it again.") from error
        self._members = {name.replace("\\", "/"): name for name in members}  # some Windows programs write backslashes
        self.names = sorted((n for n in self._members if _is_visible(n) and not n.endswith("/")), key=natural)

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        return Zip, (self.path,)

    def _archive(self) -> zipfile.ZipFile:
        """This process's own handle: processes that share one would move each other's file position."""
        if self._owner != os.getpid():
            self._owner, self._handle = os.getpid(), zipfile.ZipFile(self.path)
        return self._handle

    def read(self, name: str) -> bytes:
        """The content of a member."""
        try:
            archive = self._archive()
            member = archive.getinfo(self._members[name])
            if member.flag_bits & 1:
                raise Undecodable("encrypted in the zip")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # zipfile would unpack other methods to any size
                raise Undecodable(f"compressed in the zip by method {member.compress_type}, which is not supported")
            if max(member.compress_size, member.file_size) > LARGEST:
                raise Undecodable(TOO_LARGE)
            with archive.open(member) as file:
                return file.read(member.file_size)  # unpacks no more than this, whatever follows; checks the CRC
        except Undecodable:
            raise
        except Exception as error:  # zipfile and its decompressors raise almost any exception for a corrupted member
            if isinstance(error, OSError) and error.errno:
                raise _disk_fault(self.path, error) from error
            raise Undecodable(f"corrupted in the zip: {error}") from error

    def stamp(self, names: Sequence[str]) -> str:
        """A digest of the checksums in the zip: one that was moved, or packed again, is the same data."""
        checksums = [self._archive().getinfo(self._members[name]).CRC for name in names]
        return hashlib.sha256(np.array(checksums, np.uint32).tobytes()).hexdigest()


Tree = Folder | Zip


def read_file(path: Path) -> bytes:
    """The content of a file.

    Raises:
        Undecodable: it does not exist, is too large, or cannot be read for another reason.
        UserError: the disk, or the connection to it, has a fault.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its other end forever
            raise Undecodable("not a regular file")
        if status.st_size > LARGEST:
            raise Undecodable(TOO_LARGE)
        return path.read_bytes()
    except OSError as error:
        if error.errno in OF_ONE_FILE:
            raise Undecodable(str(error.strerror).lower()) from error
        raise _disk_fault(path, error) from error


def natural(name: str) -> list[str | tuple[int, str]]:
    """A sorting key with numbers by value: 9.jpg before 10.jpg."""
    parts = enumerate(re.split("([0-9]+)", name))
    # by length and digits, because Python refuses to convert thousands of digits to an integer
    return [(len(part.lstrip("0")), part.lstrip("0")) if i % 2 else part for i, part in parts]


def _is_visible(name: str) -> bool:
    """Whether no part of a path is hidden or one of `NO_DATA`."""
    return not any(part.startswith(".") or part.lower() in NO_DATA for part in name.split("/"))


def _unlisted(error: OSError) -> None:
    raise UserError(f"The folder {error.filename} cannot be listed ({error.strerror}). Check its permissions.")


def _disk_fault(path: Path, error: OSError) -> UserError:
    return UserError(f"{path} could not be read ({error.strerror}). Check the disk or the connection to it.")

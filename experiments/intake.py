"""Measures the speed and memory of decoding images into the cache and of serving them. Writes ``intake.json``.

    python experiments/intake.py CELEBA OUT

Speed: images per second of preparing CELEBA against torchvision's per-item path (its CelebA dataset's steps: open,
convert, crop, resize, to tensor) in a DataLoader with as many worker processes, alternating, and in a single process.
Memory: resident memory of all processes together (shared memory counted once) while as many images as CelebA has
(those of CELEBA, repeated) are prepared and then served in shuffled batches, at 64 and 128 pixels. Linux only.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from dfcvae.data.celeba import open_images
from dfcvae.device import environment

ROUNDS = 5
WORKERS = os.cpu_count() or 1
CELEBA_COUNT = 202_599

CODE = """
import sys, time, torch
from dfcvae.data.celeba import open_images
from dfcvae.data.cache import prepare
from dfcvae.data.decode import Rendering
what, source, size, cache, workers = sys.argv[1:]
start = time.perf_counter()
splits = prepare(open_images(source), Rendering(int(size)), cache_dir=cache, workers=int(workers), progress=False)
if what == "prepare":
    print(time.perf_counter() - start)
else:
    images = splits["train"].images
    print(sum(images[rows].float().mean().item() for rows in torch.randperm(len(images)).split(64)))
"""


class PerItem(Dataset):
    """Image files as torchvision's data sets serve them: each is opened, cropped and resized on access."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.transform = v2.Compose([v2.CenterCrop(74), v2.Resize(64, antialias=True), v2.PILToTensor()])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.transform(Image.open(self.paths[i]).convert("RGB"))


def main() -> None:
    """Measure speed and memory, and write both."""
    source, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    images = open_images(source)
    encoded = [images.read(i) for i in range(len(images))]
    with tempfile.TemporaryDirectory(dir=out) as folder:
        scratch = Path(folder)
        result = {
            "environment": environment() | {"cores": WORKERS},
            "speed": speed(source, encoded, scratch),
            "memory": memory(encoded, scratch),
        }
    (out / "intake.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def speed(source: Path, encoded: list[bytes], scratch: Path) -> dict[str, object]:
    """Images per second of both ways in turn, starting the processes included."""
    (scratch / "files").mkdir()
    paths = [scratch / "files" / f"{i}.jpg" for i in range(len(encoded))]
    for path, data in zip(paths, encoded, strict=True):
        path.write_bytes(data)
    rates: dict[str, list[float]] = {}
    for turn in range(ROUNDS):
        for name, workers in (("", WORKERS), ("_1", 1)):
            with started("prepare", source, 64, scratch / f"speed{turn}{name}", workers) as process:
                ours = len(paths) / float(process.communicate()[0])
            loader = DataLoader(PerItem(paths), batch_size=64, num_workers=workers if workers > 1 else 0)
            start = time.perf_counter()
            theirs = sum(len(batch) for batch in loader) / (time.perf_counter() - start)
            for key, rate in (("prepare", ours), ("per_item", theirs), ("ratio", ours / theirs)):
                rates.setdefault(key + name, []).append(rate)
    summary = {
        name: {"median": statistics.median(values), "min": min(values), "max": max(values)}
        for name, values in rates.items()
    }
    return {"images": len(paths), "workers": WORKERS, "rounds": ROUNDS, "images_per_second": summary}


def memory(encoded: list[bytes], scratch: Path) -> dict[str, object]:
    """Peaks of resident memory in MB, all of it and what is not a mapped file, for as many images as CelebA has."""
    with zipfile.ZipFile(scratch / "img_align_celeba.zip", "w") as archive:
        for i in range(CELEBA_COUNT):
            archive.writestr(f"img_align_celeba/{i + 1:06d}.jpg", encoded[i % len(encoded)])
    found: dict[str, object] = {"images": CELEBA_COUNT}
    for size in (64, 128):
        for what in ("prepare", "serve"):
            start, peaks = time.perf_counter(), {"all": 0.0, "not mapped": 0.0}
            with started(what, scratch / "img_align_celeba.zip", size, scratch / "cache", WORKERS) as process:
                while process.poll() is None:
                    for name, fields in (("all", ["Pss:"]), ("not mapped", ["Pss_Anon:", "Pss_Shmem:"])):
                        peaks[name] = max(peaks[name], resident(process.pid, fields))
                    time.sleep(0.25)
            assert process.returncode == 0
            found[f"{what} {size} px"] = peaks | {"seconds": round(time.perf_counter() - start, 1)}
        file = next((scratch / "cache").glob(f"{size}px-*/images.npy"))
        found[f"file {size} px, MB"] = round(file.stat().st_size / 1e6)
    return found


def started(*arguments: object) -> subprocess.Popen:
    """The measured code in a session of its own."""
    command = [sys.executable, "-c", CODE, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def resident(session: int, fields: list[str]) -> float:
    """Some of the memory of a session's processes, in MB; what processes share counts for each in part."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if os.getsid(int(path.name)) == session:
                lines = [line.split() for line in (path / "smaps_rollup").read_text().splitlines()]
                total += sum(float(line[1]) for line in lines if line[0] in fields) / 1e3
    return total


if __name__ == "__main__":
    main()

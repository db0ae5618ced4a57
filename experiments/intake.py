"""Measures the speed and memory of decoding images into the cache and of serving them. Writes ``intake.json``.

    python experiments/intake.py CELEBA OUT

Speed: images per second of preparing CELEBA against torchvision's per-item path (its CelebA dataset's steps: open,
convert, crop, resize, to tensor) in a DataLoader with as many worker processes, alternating, and in a single process.
Memory: resident memory of all processes together (shared memory counted once) while as many images as CelebA has
(those of CELEBA, repeated) are prepared and then served in shuffled batches, at 64 and 128 pixels. Linux only.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import PIL
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from dfcvae.data.celeba import open_images

ROUNDS = 5
WORKERS = os.cpu_count() or 1
CELEBA_COUNT = 202_599

PREPARE = """
import sys, time
from dfcvae.data.celeba import open_images
from dfcvae.data.cache import prepare
from dfcvae.data.decode import Rendering
start = time.perf_counter()
images = open_images(sys.argv[1])
prepare(images, Rendering(int(sys.argv[2])), cache_dir=sys.argv[3], workers=int(sys.argv[4]), progress=False)
print(time.perf_counter() - start)
"""
SERVE = """
import sys, torch
from dfcvae.data.celeba import open_images
from dfcvae.data.cache import prepare
from dfcvae.data.decode import Rendering
splits = prepare(open_images(sys.argv[1]), Rendering(int(sys.argv[2])), cache_dir=sys.argv[3], progress=False)
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
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        result = {
            "machine": {"cpu": cpu(), "cores": WORKERS, "platform": platform.platform()},
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "torchvision": torchvision.__version__,
                "pillow": PIL.__version__,
            },
            "speed": speed(source, Path(scratch)),
            "memory": memory(source, Path(scratch)),
        }
    (out / "intake.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def speed(source: Path, scratch: Path) -> dict[str, object]:
    """Images per second of both ways in turn, starting the processes included."""
    paths = unpack(source, scratch / "files")
    rates: dict[str, list[float]] = {name: [] for name in ("prepare", "per_item", "prepare_1", "per_item_1")}
    for round_ in range(ROUNDS):
        for name, workers in (("", WORKERS), ("_1", 1)):
            seconds = float(run(PREPARE, source, 64, scratch / f"speed{round_}{name}", workers))
            rates[f"prepare{name}"].append(len(paths) / seconds)
            loader = DataLoader(PerItem(paths), batch_size=64, num_workers=workers if workers > 1 else 0)
            start = time.perf_counter()
            count = sum(len(batch) for batch in loader)
            rates[f"per_item{name}"].append(count / (time.perf_counter() - start))
    ratios = {"ratio": ("prepare", "per_item"), "ratio_1": ("prepare_1", "per_item_1")}
    summary = {name: spread(values) for name, values in rates.items()}
    for name, (ours, theirs) in ratios.items():
        summary[name] = spread([a / b for a, b in zip(rates[ours], rates[theirs], strict=True)])
    return {"images": len(paths), "workers": WORKERS, "rounds": ROUNDS, "images_per_second": summary}


def memory(source: Path, scratch: Path) -> dict[str, object]:
    """Peaks of resident memory in MB: all of it, and what is not a mapped file."""
    big = repeat(source, scratch / "big")
    found = {"images": CELEBA_COUNT}
    for size in (64, 128):
        for name, code, rest in (("prepare", PREPARE, [WORKERS]), ("serve", SERVE, [])):
            start = time.perf_counter()
            peaks = watched([sys.executable, "-c", code, str(big), str(size), str(scratch / "cache"), *map(str, rest)])
            found[f"{name} {size} px"] = peaks | {"seconds": round(time.perf_counter() - start, 1)}
        mapped = next((scratch / "cache").glob(f"{size}px-*/images.npy")).stat().st_size
        found[f"file {size} px, MB"] = round(mapped / 1e6)
    return found


def watched(command: list[str]) -> dict[str, float]:
    """Runs a command; the largest sum over it and its children of resident memory, sampled four times a second."""
    process = subprocess.Popen(command)
    peaks = {"all": 0.0, "not mapped": 0.0}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.25):
            for name, fields in (("all", ("Pss",)), ("not mapped", ("Pss_Anon", "Pss_Shmem"))):
                total = sum(resident(pid, fields) for pid in family(process.pid))
                peaks[name] = max(peaks[name], round(total / 1e3, 1))

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = process.wait()
    done.set()
    watcher.join()
    assert status == 0
    return peaks


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    pids = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            pids += [child for text in path.read_text().split() for child in family(int(text))]
        except OSError:
            continue
    return pids


def resident(pid: int, fields: tuple[str, ...]) -> float:
    """Some of a process's resident memory, in kB; what processes share counts for each in part."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(float(line.split()[1]) for line in lines if line.split(":")[0] in fields)


def repeat(source: Path, folder: Path) -> Path:
    """A zip of as many images as CelebA has, under its names: those of a smaller set over and over."""
    images = open_images(source)
    encoded = [images.read(i) for i in range(len(images))]
    folder.mkdir()
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
        for i in range(CELEBA_COUNT):
            archive.writestr(f"img_align_celeba/{i + 1:06d}.jpg", encoded[i % len(encoded)])
    return folder


def unpack(source: Path, folder: Path) -> list[Path]:
    """The images as files, as torchvision needs them."""
    images = open_images(source)
    folder.mkdir()
    for i, name in enumerate(images.filenames):
        (folder / name).write_bytes(images.read(i))
    return [folder / name for name in images.filenames]


def run(code: str, *arguments: object) -> str:
    """What a script prints, run in a process of its own."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def spread(values: list[float]) -> dict[str, float]:
    """Median and range."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return {"median": round(middle, 2), "min": round(low, 2), "max": round(high, 2)}


def cpu() -> str:
    """Name of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()

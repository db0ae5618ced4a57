"""Where a training step's time goes, by kinds of operators, for the rows of `dfcvae bench --quick`.

    python experiments/profile_step.py --batch-size 64 --out OUT

By torch.profiler, on the GPU where there is one. Writes OUT/profile.json (and the ten longest operators of each) and
OUT/profile.png.
"""

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch.profiler import ProfilerActivity, profile

from dfcvae.bench import bench_rows
from dfcvae.device import environment, pick_device

GROUPS = {  # of an operator by the first pattern that is found in its name
    "convolutions, backward": "convolution_backward",
    "convolutions, forward": "conv",
    "batch norm": "batch_norm",
    "pooling": "pool",
    "ReLU": "relu|threshold|clamp_min|sigmoid",
    "Adam": "adam|Optimizer|addcdiv|lerp|foreach",
    "copies and casts": "copy|contiguous|cat|index|clone|fill|zero|empty|flip|_to|pad|upsample",
    "linear": "addmm|mm|linear",
    "losses and other sums": "",
}
WARM_UP, STEPS = 2, {"cpu": 1, "cuda": 50}


def spent(step: Callable[[], Any], count: int, gpu: bool) -> dict[str, float]:
    """Milliseconds of every operator itself in a step, by name."""
    for _ in range(WARM_UP):
        step()
    with profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * gpu) as profiler:
        for _ in range(count):
            step()
        if gpu:
            torch.cuda.synchronize()
    times = {}
    for event in profiler.key_averages():
        microseconds = event.self_device_time_total if gpu else event.self_cpu_time_total
        if event.key.startswith("aten::") or not gpu:
            times[event.key] = microseconds / 1000 / count
    return {name: value for name, value in times.items() if value > 0}


def grouped(times: dict[str, float]) -> dict[str, float]:
    """The sum of each of `GROUPS`."""
    sums = dict.fromkeys(GROUPS, 0.0)
    for name, value in times.items():
        sums[next(group for group, pattern in GROUPS.items() if re.search(pattern, name))] += value
    return sums


def draw(groups: dict[str, dict[str, float]], out: Path) -> None:
    """One bar for each step, made of the groups' shares of it."""
    figure, axis = plt.subplots(figsize=(10, 1 + 0.5 * len(groups)), constrained_layout=True)
    totals = {name: sum(values.values()) for name, values in groups.items()}
    bars = [f"{name}, {total:,.0f} ms" for name, total in totals.items()]
    left = [0.0] * len(bars)
    for index, group in enumerate(GROUPS):
        widths = [100 * values[group] / totals[name] for name, values in groups.items()]
        axis.barh(bars, widths, left=left, label=group, color=plt.get_cmap("tab10")(index))
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axis.invert_yaxis()
    axis.set(xlabel="percent of a step", xlim=(0, 100))
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(out / "profile.png", dpi=110)


def main() -> None:
    """Profile every step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--out", type=Path, default=Path("profile"))
    args = parser.parse_args()
    device = pick_device()
    settings = {"size": args.size, "batch_size": args.batch_size, "device": device.type}
    results: dict[str, Any] = {}
    for row in bench_rows(args.size, args.batch_size, device, quick=True):
        times = spent(row.build(), STEPS[device.type], device.type == "cuda")
        longest = dict(sorted(times.items(), key=lambda item: -item[1])[:10])
        results[row.name] = {"total": sum(times.values()), "groups": grouped(times), "longest": longest}
    args.out.mkdir(parents=True, exist_ok=True)
    groups = {name: result["groups"] for name, result in results.items()}
    draw(groups, args.out)
    report = {"settings": settings, "milliseconds": results, "environment": environment()}
    (args.out / "profile.json").write_text(json.dumps(report, indent=1) + "\n")
    print(f"{'milliseconds of a step':<26}" + "".join(f"{name:>34}" for name in groups))
    for group in GROUPS:
        print(f"{group:<26}" + "".join(f"{values[group]:>34.1f}" for values in groups.values()))
    print(f"{'all':<26}" + "".join(f"{result['total']:>34.1f}" for result in results.values()))


if __name__ == "__main__":
    main()

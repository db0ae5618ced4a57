"""A study on two Ray workers, one of which is killed while it trains. Run as a program: Ray starts many threads."""

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from dfcvae.ablate import ablate
from dfcvae.study import read_study


def kill_a_worker(out: Path) -> None:
    """The first process of this program's Ray that is in the middle of a run of the study."""
    while True:
        time.sleep(0.2)
        begun = {file.parts[-3] for file in (out / "runs").glob("*/checkpoints/last.ckpt")}
        if not begun - {file.stem for file in (out / "done").glob("*.json")}:
            continue
        for process in Path("/proc").glob("[0-9]*"):
            try:
                ours = f"DFCVAE_STUDY={out}".encode() in (process / "environ").read_bytes()
                busy = ours and (process / "cmdline").read_text().startswith("ray::attempt")
            except OSError:
                continue  # it ended meanwhile
            if busy:
                os.kill(int(process.name), signal.SIGKILL)
                print("killed", process.name, flush=True)
                return


desk, out = Path(sys.argv[1]), Path(sys.argv[2])
study = replace(read_study(desk / "longer.yaml", seeds=1), out=out, judge=desk / "judge.safetensors")
threading.Thread(target=kill_a_worker, args=(out,), daemon=True).start()
os.environ |= {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "DFCVAE_STUDY": str(out)}
print(ablate(study, ray="local"), flush=True)

"""Studies as SLURM job arrays and as sweeps of Weights & Biases, which run `dfcvae ablate --only`."""

import shlex
from collections.abc import Sequence

import yaml


def slurm_script(command: Sequence[str], runs: Sequence[str]) -> str:
    """A job array with one task for each run.

    Args:
        command: ``dfcvae ablate STUDY ...``.
        runs: names of the runs.
    """
    call = shlex.join(["dfcvae", *command])
    names = " ".join(map(shlex.quote, runs))
    return f"""#!/bin/bash
# Submit with: sbatch THIS_FILE. The report, at the end or of what is finished: {call} --report
#SBATCH --job-name=dfcvae-ablate
#SBATCH --array=0-{len(runs) - 1}
#SBATCH --gpus=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --output=%x-%A-%a.log
runs=({names})
srun {call} --only "${{runs[$SLURM_ARRAY_TASK_ID]}}"
"""


def wandb_sweep(command: Sequence[str], runs: Sequence[str]) -> str:
    """A sweep over the runs, as YAML for ``wandb sweep``; the command with ``--report`` then writes the report."""
    sweep = {
        "name": "dfcvae-ablate",
        "method": "grid",
        "parameters": {"only": {"values": list(runs)}},
        "command": ["dfcvae", *command, "${args}"],
    }
    return yaml.safe_dump(sweep, sort_keys=False)

#!/usr/bin/env bash
# Time to a given quality: the plain VAE, the DFC-VAE with the compact network and, if WEIGHTS is given, with the full one, trained for
# 1, 2, 4 and 8 epochs each, and measured by judges on the test split.
#
#   experiments/time-to-quality.sh CELEBA OUT [WEIGHTS]
#
# WEIGHTS  a file of VGG-19 (one that ends at conv3_1 is enough), or imagenet
#
#   JUDGES="experiments/judges/squeezenet.yaml ..."   # judges' files; the default downloads SqueezeNet's ImageNet weights (4.7 MB)
#   EPOCHS="1 2 4 8"   FULL_EPOCHS="1 2 4"            # the full network takes about three times as long per epoch
#   FIELDS="--training.max_steps 4"                   # for all runs
#
# Writes a run folder for each with test.json and cost.json, and OUT/table.txt. Interrupted runs resume; measured ones are not repeated.
set -euo pipefail
celeba=$1 out=$2 weights=${3:-}
here=$(dirname "$0")
judges=()
for judge in ${JUDGES:-$here/judges/squeezenet.yaml}; do
  judges+=(--judge "$judge")
done

run() { # NAME EPOCHS EXPERIMENT FIELDS...
  local folder=$out/$1-$2 epochs=$2 experiment=$3
  shift 3
  [ -f "$folder/test.json" ] && return
  # shellcheck disable=SC2086  # several words
  dfcvae train "$here/$experiment.yaml" --data.source "$celeba" --out "$folder" --resume auto --training.epochs "$epochs" ${FIELDS:-} "$@"
  dfcvae evaluate "$folder" "${judges[@]}" --out "$folder/test.json"
}

for epochs in ${EPOCHS:-1 2 4 8}; do
  run plain "$epochs" vae
  run compact "$epochs" dfc-vae --loss.features.weights compact
done
for epochs in ${weights:+${FULL_EPOCHS:-1 2 4}}; do
  run full "$epochs" dfc-vae --loss.features.weights "$weights" --loss.features.arch vgg19
done

${PYTHON:-python} - "$out" <<'END' | tee "$out/table.txt"
import json, sys
from pathlib import Path

rows = []
for file in Path(sys.argv[1]).glob("*/test.json"):
    measures, cost = json.loads(file.read_text()), json.loads((file.parent / "cost.json").read_text())
    judged = {name: value for name, value in measures.items() if name.endswith(("/distance", "/cosine", "agreement"))}
    chosen = {name: measures[name] for name in ("mse", "ssim", "sharpness")} | judged
    rows.append((file.parent.name, cost["training_seconds"] / 60, chosen))
names = list(rows[0][2])
print(f"{'run':<12}{'minutes':>9}" + "".join(f"{name.split('/')[-1]:>12}" for name in names))
for run, minutes, measures in sorted(rows):
    print(f"{run:<12}{minutes:>9.1f}" + "".join(f"{measures[name]:>12.4g}" for name in names))
END

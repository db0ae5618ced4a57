#!/usr/bin/env bash
# Remedies for the mesh of the feature loss: pooling, a tap in the first block, a random shift, more pixel weight; short runs.
#
#   experiments/mesh.sh CELEBA FEATURES JUDGE OUT
#
# FEATURES is a weights file or compact, JUDGE a network from `dfcvae features train`. 800 steps of 32 images each; run folders
# in OUT with test.json, reconstructions.png and samples.png.
set -euo pipefail
celeba=$1 features=$2 judge=$3 out=$4
here=$(dirname "$0")

one() {
  local run="$out/$1"
  shift
  dfcvae train "$here/dfc-vae.yaml" --data.source "$celeba" --training.batch_size 32 --training.max_steps 800 \
    --loss.features.preset dfc --loss.features.weights "$features" --out "$run" "$@"
  dfcvae evaluate "$run" --judge "$judge" --out "$run/test.json"
  dfcvae reconstruct "$run" -n 8 --out "$run/reconstructions.png"
  dfcvae sample "$run" -n 16 --out "$run/samples.png"
}

for pooling in max average; do
  four=(--loss.features.pooling $pooling --loss.features.layers "[14,24,34,43]" --loss.features.layer_weights 0.125)
  tap=(--loss.features.pooling $pooling --loss.features.layers "[relu1_2,14,24,34,43]" --loss.features.layer_weights 0.1)
  one $pooling "${four[@]}"
  one $pooling-tap "${tap[@]}"
  one $pooling-shift "${four[@]}" --loss.features.shift 16
  one $pooling-tap-shift "${tap[@]}" --loss.features.shift 16
  one $pooling-pixel "${four[@]}" --loss.pixel_weight 0.8 --loss.features.layer_weights 0.05
done

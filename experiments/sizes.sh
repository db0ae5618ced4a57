#!/usr/bin/env bash
# Other sizes and grey faces: both networks with the objective of dfc-vae.yaml at 32, 128 and 256 pixels and at 64 in grey,
# for a few hundred steps each.
#
#   experiments/sizes.sh CELEBA OUT [overrides for all runs, such as --training.max_steps 2000]
#
# Steps and batches shrink as the faces grow, so that a run takes minutes on one CPU core: the runs show that every size
# works, not its best quality; at 256 pixels fewer images are used, because all of them pass through the feature network
# once for the variances. One feature network, trained on colour faces of 64 pixels, is used for all runs but those of 32
# pixels, which have their own. Runs that have been measured are skipped.
set -euo pipefail
celeba=$1 out=$2
shift 2
here=$(dirname "$0")

while read -r size epochs; do
  [ -f "$out/features-$size.safetensors" ] ||
    dfcvae features train --data.source "$celeba" --data.size "$size" --training.epochs "$epochs" \
      --out "$out/features-$size.safetensors"
done <<NETWORKS
32 6
64 4
NETWORKS

while read -r size channels batch steps features images; do
  for network in hou2016 strided; do
    run="$out/$size-$channels-$network"
    [ ! -f "$run/test.json" ] || continue
    SECONDS=0
    dfcvae train "$here/dfc-vae.yaml" --data.source "$celeba" --data.size "$size" --data.channels "$channels" \
      --data.train_images "$images" --model.network "$network" --training.batch_size "$batch" --training.max_steps "$steps" \
      --loss.features.weights "$out/features-$features.safetensors" --out "$run" "$@"
    echo "$SECONDS" > "$run/seconds.txt"
    dfcvae evaluate "$run" --out "$run/test.json"
    dfcvae reconstruct "$run" -n 8 --out "$run/reconstructions.png"
    dfcvae sample "$run" -n 16 --out "$run/samples.png"
  done
done <<RUNS
32 3 64 500 32 7000
64 1 32 400 64 7000
128 3 16 250 64 7000
256 3 8 200 64 2000
RUNS

#!/usr/bin/env bash
# The comparison shown in the README: an in-domain feature network, a judge, the plain VAE and the DFC-VAE at equal budget
# on CelebA, measured on its test split.
#
#   [WIDTH=0.25] experiments/reproduce.sh CELEBA OUT [overrides for both runs, such as --training.epochs 25]
#
# WIDTH=1 trains and uses the full vgg19_bn, which wants a GPU.
set -euo pipefail
celeba=$1 out=$2
shift 2
here=$(dirname "$0")

[ -f "$out/features.safetensors" ] ||
  dfcvae features train --data.source "$celeba" --training.width "${WIDTH:-0.25}" --out "$out/features.safetensors"
[ -f "$out/judge.safetensors" ] ||
  dfcvae features train --data.source "$celeba" --training.arch vgg11_bn --training.epochs 6 --training.seed 1 --out "$out/judge.safetensors"

for name in vae dfc-vae; do
  features=()
  [ "$name" = vae ] || features=(--loss.features.weights "$out/features.safetensors")
  dfcvae train "$here/$name.yaml" --data.source "$celeba" --out "$out/$name" "${features[@]}" "$@"
  dfcvae evaluate "$out/$name" --judge "$out/judge.safetensors" --out "$out/$name/test.json"
  dfcvae reconstruct "$out/$name" -n 12 --out "$out/$name-reconstructions.png"
  dfcvae sample "$out/$name" -n 36 --out "$out/$name-samples.png"
done

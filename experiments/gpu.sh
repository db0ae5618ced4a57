#!/usr/bin/env bash
# All that is to be measured on a GPU, in one go: the benchmark and how it scales, a profile, numerics, CUDA tests, and a
# training run at full speed.
#
#   experiments/gpu.sh CELEBA OUT
#
# Reports, tables and pictures in OUT. What fails, or takes longer than half an hour, is noted, and the rest goes on.
set -uo pipefail
celeba=$1 out=$2
here=$(dirname "$0")
mkdir -p "$out"

part() {
  local name=$1
  shift
  echo "== $name: $*"
  timeout 1800 "$@" > "$out/$name.txt" 2>&1 || echo "$name failed, see $out/$name.txt"
  tail -n 30 "$out/$name.txt"
}

nvidia-smi > "$out/nvidia-smi.txt" 2>&1 || true
part tests python -m pytest tests/losses/test_anywhere.py tests/test_features.py tests/training/test_targets.py -q
for batch in 64 256 512; do
  part "bench-$batch" dfcvae bench --batch_size $batch --out "$out/bench-$batch.json"
done
part scaling dfcvae bench --scaling --out "$out/scaling.json"
part profile python "$here/profile_step.py" --batch-size 256 --out "$out"
part features dfcvae features train --data.source "$celeba" --training.width 1 --training.precision auto \
  --out "$out/features.safetensors"
part numerics python "$here/numerics.py" "$celeba" --features "$out/features.safetensors" --size 64 --batch-size 64 \
  --steps 2000 --out "$out/numerics"
for kept in never memory; do
  part "train-$kept" dfcvae train "$here/dfc-vae.yaml" --data.source "$celeba" --training.batch_size 256 \
    --training.learning_rate 2.0e-3 --training.warmup_steps 100 --loss.features.weights "$out/features.safetensors" \
    --loss.features.cache_targets $kept --out "$out/train-$kept"
done

#!/usr/bin/env bash
# Learning rate and warm-up with which a large batch trains as well as a small one on the same number of images.
#
#   experiments/large-batch.sh CELEBA FEATURES OUT [SIZE]
#
# FEATURES: weights of the feature network, such as compact. 64,000 images each: 2,000 steps of 32, or 250 of 256. Run folders in
# OUT; the last validation of each is printed.
set -euo pipefail
celeba=$1 features=$2 out=$3 size=${4:-32}
here=$(dirname "$0")

one() {
  local run="$out/$1"
  shift
  dfcvae train "$here/dfc-vae.yaml" --data.source "$celeba" --data.size "$size" --training.epochs 10000 \
    --training.picture_epochs 10000 --loss.features.weights "$features" --loss.features.cache_targets memory --out "$run" "$@"
}

one 32 --training.batch_size 32 --training.max_steps 2000
large=(--training.batch_size 256 --training.max_steps 250)
one 256-same "${large[@]}"
one 256-root "${large[@]}" --training.learning_rate 2.8e-3
one 256-root-warm "${large[@]}" --training.learning_rate 2.8e-3 --training.warmup_steps 50
one 256-linear-warm "${large[@]}" --training.learning_rate 8e-3 --training.warmup_steps 50
for run in "$out"/*/; do
  echo "$(basename "$run"): $(python - "$run/metrics.csv" <<'EOF'
import csv, sys
row = [row for row in csv.DictReader(open(sys.argv[1])) if row["val/total"]][-1]
print(", ".join(f"{name[4:]} {float(row[name]):.4f}" for name in ("val/total", "val/pixel", "val/kl")))
EOF
)"
done

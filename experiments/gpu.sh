#!/usr/bin/env bash
# The effect of a GPU and of the full ImageNet network: sized to 12 minutes of one H100. Not run on a GPU yet.
#
#   python experiments/pack.py CELEBA FACES               # once, on the machine with the images
#   experiments/gpu.sh FACES OUT [WEIGHTS [JUDGE]]
#
# FACES    what pack.py wrote, or any data set
# WEIGHTS  a file of VGG-19 (one that ends at conv3_1 is enough), or imagenet; without it, the parts that need it are skipped
# JUDGE    a judge's YAML file, independent of the network of the loss (experiments/judges)
#
# Writes OUT/NAME.txt for each part, run folders, pictures, and OUT/summary.txt as results arrive. Each part has a time limit, and all
# together have BUDGET seconds (default 700). A training that reaches its limit is saved and evaluated.
#
#   EPOCHS=20    of each training
#   SMALL=1      a few steps of each part, to test this script on a CPU (without limits)
#   LONG=1       afterwards, without limits: CUDA tests, the whole benchmark, a profile, numerics
set -uo pipefail
faces=$1 out=$2 weights=${3:-} judge=${4:-}
here=$(dirname "$0")
python=${PYTHON:-python}
dfcvae="$python -m dfcvae"
mkdir -p "$out"
budget=${BUDGET:-700}

part() { # NAME LIMIT COMMAND...: its output in OUT/NAME.txt, its time and end on the terminal
  local name=$1 limit=$2 left=$((budget - SECONDS)) begun=$SECONDS status=0
  shift 2
  [ "$left" -lt "$limit" ] && limit=$left
  if [ "$limit" -lt 5 ]; then
    echo "== $name: skipped, no time left" | tee -a "$out/summary.txt"
    return
  fi
  timeout --kill-after=20 "$limit" "$@" > "$out/$name.txt" 2>&1 || status=$?
  case $status in
    0) echo "== $name: $((SECONDS - begun)) s" ;;
    75 | 124 | 137) echo "== $name: stopped at its limit of $limit s" ;;
    *) echo "== $name: failed with status $status, see $out/$name.txt" ;;
  esac | tee -a "$out/summary.txt"
  tail -n "${SHOWN:-12}" "$out/$name.txt"
}

bench=(--quick --rounds 2 --steps 50) batches=(64 256) large=256
training=(--training.epochs "${EPOCHS:-20}" --training.picture_epochs 10 --training.precision bf16-mixed)
distil=(--student.steps 600)
if [ "${SMALL:-}" ]; then
  budget=1000000
  bench=(--quick --rounds 1 --steps 1 --size 32) batches=(2) large=32
  training=(--training.max_steps 4 --training.batch_size 16)
  distil=(--student.steps 2 --student.batch_size 16)
fi
limit() { [ "${SMALL:-}" ] && echo 100000 || echo "$1"; }

train() { # NAME EXPERIMENT FIELDS...: a run, its measures and samples
  local name=$1 experiment=$2 judges=()
  shift 2
  [ "$judge" ] && judges=(--judge "$judge")
  part "$name-train" "$(limit 100)" $dfcvae train "$here/$experiment.yaml" --data.source "$faces" --out "$out/$name" "${training[@]}" "$@"
  part "$name-test" "$(limit 40)" $dfcvae evaluate "$out/$name" "${judges[@]}" --out "$out/$name/test.json"
  part "$name-samples" "$(limit 20)" $dfcvae sample "$out/$name" -n 36 --out "$out/$name-samples.png"
}

nvidia-smi > "$out/nvidia-smi.txt" 2>&1 || echo "no nvidia-smi"
part versions "$(limit 60)" $python -c "
from dfcvae.device import environment
for name, value in environment().items():
    print(name, value)"
part prepare "$(limit 60)" $dfcvae data prepare "$faces" --size 64
for batch in "${batches[@]}"; do
  SHOWN=20 part "bench-$batch" "$(limit 75)" $dfcvae bench "${bench[@]}" --batch_size "$batch" --out "$out/bench-$batch.json"
done

train plain vae
train compact dfc-vae --loss.features.weights compact
if [ "$weights" ]; then
  train vgg19 dfc-vae --loss.features.weights "$weights" --loss.features.arch vgg19
  part distil "$(limit 150)" $dfcvae features distil "$weights" --data.source "$faces" --student.sizes "[32,48,64]" "${distil[@]}" \
    --out "$out/student.safetensors"
fi
train "compact-$large" dfc-vae --loss.features.weights compact --training.batch_size "$large" \
  --training.learning_rate 2.8e-3 --training.warmup_steps 50

best=$([ -d "$out/vgg19" ] && echo vgg19 || echo compact)
part gallery "$(limit 60)" $python "$here/gallery.py" "$out/plain" "$out/$best" "$out/gallery" --source "$faces"
$python - "$out" <<'END' | tee -a "$out/summary.txt"
import json, sys
from pathlib import Path

out = Path(sys.argv[1])
SHOWN = ("mse", "ssim", "sharpness", "plaid", "kl")
for file in sorted(out.glob("*/test.json")):
    measures, cost = json.loads(file.read_text()), json.loads((file.parent / "cost.json").read_text())
    shown = [name for name in measures if name in SHOWN or name.endswith(("/cosine", "/distance"))]
    told = [f"{name} {measures[name]:.4g}" for name in shown] + [f"{name} {value}" for name, value in cost.items()]
    print(f"{file.parent.name}: {', '.join(told)}")
END
echo "$SECONDS s in all" | tee -a "$out/summary.txt"

if [ "${LONG:-}" ]; then
  budget=1000000
  part tests 1800 $python -m pytest tests/losses/test_anywhere.py tests/test_bench.py tests/test_features.py tests/training/test_targets.py -q
  for batch in 64 256 512; do
    SHOWN=30 part "bench-all-$batch" 1800 $dfcvae bench --batch_size "$batch" --out "$out/bench-all-$batch.json"
  done
  part profile 1800 $python "$here/profile_step.py" --batch-size 256 --out "$out"
  part numerics 1800 $python "$here/numerics.py" "$faces" --features compact --size 64 --batch-size 64 --steps 2000 --out "$out/numerics"
fi

"""What a training step costs: the package's own beside the popular implementations', measure by measure."""

from dfcvae.bench.run import run_bench
from dfcvae.bench.scaling import run_scaling
from dfcvae.bench.settings import BenchSettings

__all__ = ["BenchSettings", "run_bench", "run_scaling"]

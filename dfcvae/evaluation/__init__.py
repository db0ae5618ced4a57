"""Measures and reports of trained models."""

from dfcvae.evaluation.measures import JUDGE_LAYERS, evaluate, psnr
from dfcvae.evaluation.mesh import mesh_energy, plaid_energy, power_spectrum
from dfcvae.evaluation.sharpness import laplacian_variance

__all__ = ["JUDGE_LAYERS", "evaluate", "laplacian_variance", "mesh_energy", "plaid_energy", "power_spectrum", "psnr"]

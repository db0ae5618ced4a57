"""Measures and reports of trained models."""

from dfcvae.evaluation.frechet import embed, frechet_distance
from dfcvae.evaluation.measures import JUDGE_LAYERS, evaluate, psnr
from dfcvae.evaluation.mesh import mesh_energy, plaid_energy, power_spectrum
from dfcvae.evaluation.probe import Probe, probe_model
from dfcvae.evaluation.probe_table import probe_record, probe_table
from dfcvae.evaluation.sharpness import laplacian_variance

__all__ = [
    "JUDGE_LAYERS",
    "Probe",
    "embed",
    "evaluate",
    "frechet_distance",
    "laplacian_variance",
    "mesh_energy",
    "plaid_energy",
    "power_spectrum",
    "probe_model",
    "probe_record",
    "probe_table",
    "psnr",
]

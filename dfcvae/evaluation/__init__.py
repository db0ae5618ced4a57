"""Measures and reports of trained models."""

from dfcvae.evaluation.frechet import embed, frechet_distance
from dfcvae.evaluation.inception import inception_card, inception_network
from dfcvae.evaluation.intervals import bootstrap_means, percentile_interval
from dfcvae.evaluation.judges import NetworkJudge
from dfcvae.evaluation.lpips import lpips_distances
from dfcvae.evaluation.measures import JUDGE_LAYERS, Measurements, evaluate, measure, psnr
from dfcvae.evaluation.mesh import mesh_energy, plaid_energy, power_spectrum
from dfcvae.evaluation.probe import Probe, probe_model
from dfcvae.evaluation.probe_table import probe_record, probe_table
from dfcvae.evaluation.protocol import protocol
from dfcvae.evaluation.samples import compared, kernel_distance, measure_samples, precision_recall
from dfcvae.evaluation.sharpness import laplacian_variance

__all__ = [
    "JUDGE_LAYERS",
    "Measurements",
    "NetworkJudge",
    "Probe",
    "bootstrap_means",
    "compared",
    "embed",
    "evaluate",
    "frechet_distance",
    "inception_card",
    "inception_network",
    "kernel_distance",
    "laplacian_variance",
    "lpips_distances",
    "measure",
    "measure_samples",
    "mesh_energy",
    "percentile_interval",
    "plaid_energy",
    "power_spectrum",
    "precision_recall",
    "probe_model",
    "probe_record",
    "probe_table",
    "protocol",
    "psnr",
]

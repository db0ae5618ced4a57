"""Measures of trained models."""

from dfcvae.evaluation.judges import NetworkJudge
from dfcvae.evaluation.measures import (
    JUDGE_LAYERS,
    Measurements,
    bootstrap_means,
    evaluate,
    measure,
    percentile_interval,
    protocol,
)
from dfcvae.evaluation.probe import Probe, probe_model, probe_record, probe_table
from dfcvae.evaluation.quality import (
    laplacian_variance,
    lpips_distances,
    mesh_energy,
    plaid_energy,
    power_spectrum,
    psnr,
)
from dfcvae.evaluation.samples import (
    compared,
    embed,
    frechet_distance,
    inception_card,
    inception_network,
    kernel_distance,
    measure_samples,
    precision_recall,
)

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

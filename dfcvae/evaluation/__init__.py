"""Measures of trained models."""

from dfcvae.evaluation.judges import NetworkJudge
from dfcvae.evaluation.measures import JUDGE_LAYERS, Measurements, evaluate, measure, protocol
from dfcvae.evaluation.probe import Probe, probe_model, probe_record, probe_table
from dfcvae.evaluation.quality import lpips_distances
from dfcvae.evaluation.samples import (
    compared,
    embed,
    frechet_distance,
    inception_card,
    inception_network,
    measure_samples,
)

__all__ = [
    "JUDGE_LAYERS",
    "Measurements",
    "NetworkJudge",
    "Probe",
    "compared",
    "embed",
    "evaluate",
    "frechet_distance",
    "inception_card",
    "inception_network",
    "lpips_distances",
    "measure",
    "measure_samples",
    "probe_model",
    "probe_record",
    "probe_table",
    "protocol",
]

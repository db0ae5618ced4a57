"""Measures of trained models."""

from dfcvae.evaluation.judges import NetworkJudge
from dfcvae.evaluation.measures import JUDGE_LAYERS, Measurements, evaluate, measure, protocol
from dfcvae.evaluation.probe import Probe, probe_model
from dfcvae.evaluation.quality import lpips_distances
from dfcvae.evaluation.samples import embed, frechet_distance, inception_network, measure_samples

__all__ = [
    "JUDGE_LAYERS",
    "Measurements",
    "NetworkJudge",
    "Probe",
    "embed",
    "evaluate",
    "frechet_distance",
    "inception_network",
    "lpips_distances",
    "measure",
    "measure_samples",
    "probe_model",
    "protocol",
]

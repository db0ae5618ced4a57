"""Measures and reports of trained models."""

from dfcvae.evaluation.measures import JUDGE_LAYERS, evaluate, laplacian_variance, psnr

__all__ = ["JUDGE_LAYERS", "evaluate", "laplacian_variance", "psnr"]

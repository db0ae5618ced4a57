"""The latent space, for any `decode` callable: nothing here knows a network."""

from dfcvae.latent.interpolation import interpolate

__all__ = ["interpolate"]

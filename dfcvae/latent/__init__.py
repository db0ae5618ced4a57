"""The latent space, for any `decode` callable: nothing here knows a network."""

from dfcvae.latent.interpolation import face_grid, interpolate, path, slerp, traverse

__all__ = ["face_grid", "interpolate", "path", "slerp", "traverse"]

"""Synthetic faces: an unlimited, deterministic face data set with true attributes, drawn in pure PyTorch."""

from dfcvae.data.synthetic.render import render_faces
from dfcvae.data.synthetic.traits import ATTRIBUTES

__all__ = ["ATTRIBUTES", "render_faces"]

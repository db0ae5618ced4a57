"""Synthetic faces: an unlimited, deterministic face data set with true attributes, drawn in pure PyTorch."""

from dfcvae.data.synthetic.people import ATTRIBUTES
from dfcvae.data.synthetic.render import render_faces

__all__ = ["ATTRIBUTES", "render_faces"]

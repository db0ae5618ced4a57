"""Synthetic faces: an unlimited, deterministic face data set with true attributes, drawn in pure PyTorch."""

from .render import render_faces
from .traits import ATTRIBUTES

__all__ = ["ATTRIBUTES", "render_faces"]

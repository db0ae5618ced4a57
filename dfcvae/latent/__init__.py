"""The latent space, for any `decode` callable: nothing here knows a network."""

from dfcvae.latent.attributes import (
    AttributeVectors,
    attribute_vector,
    balanced_rows,
    label_correlation,
    project_out,
)
from dfcvae.latent.encoding import encode_images
from dfcvae.latent.interpolation import face_grid, interpolate, path, slerp
from dfcvae.latent.maps import image_map, principal_components, tsne
from dfcvae.latent.neighbours import nearest_neighbours
from dfcvae.latent.priors import Prior, fit_gaussian, fit_mixture
from dfcvae.latent.traversal import by_kl, traverse

__all__ = [
    "AttributeVectors",
    "Prior",
    "attribute_vector",
    "balanced_rows",
    "by_kl",
    "encode_images",
    "face_grid",
    "fit_gaussian",
    "fit_mixture",
    "image_map",
    "interpolate",
    "label_correlation",
    "nearest_neighbours",
    "path",
    "principal_components",
    "project_out",
    "slerp",
    "traverse",
    "tsne",
]

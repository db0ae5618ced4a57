"""What each command of the command line does. Arguments come parsed and typed from `dfcvae.cli`."""

from dfcvae.commands.comparing import compare, paper
from dfcvae.commands.data import data_check, data_info, data_prepare
from dfcvae.commands.distilling import features_distil
from dfcvae.commands.evaluating import evaluate, probe
from dfcvae.commands.looking import attributes, explore, map, neighbours
from dfcvae.commands.measuring import bench
from dfcvae.commands.models import export, reconstruct, sample
from dfcvae.commands.moving import edit, interpolate, traverse
from dfcvae.commands.studying import ablate
from dfcvae.commands.training import demo, features_list, features_train, train

__all__ = [
    "ablate",
    "attributes",
    "bench",
    "compare",
    "data_check",
    "data_info",
    "data_prepare",
    "demo",
    "edit",
    "evaluate",
    "explore",
    "export",
    "features_distil",
    "features_list",
    "features_train",
    "interpolate",
    "map",
    "neighbours",
    "paper",
    "probe",
    "reconstruct",
    "sample",
    "train",
    "traverse",
]

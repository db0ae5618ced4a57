"""Faces to train on: CelebA as it is on disk, any folder of images, a user's own in Python, or synthetic faces."""

from dfcvae.data.batches import Batches as Batches
from dfcvae.data.batches import Faces as Faces
from dfcvae.data.batches import Splits as Splits
from dfcvae.data.batches import TrainingBatches as TrainingBatches
from dfcvae.data.batches import filled as filled
from dfcvae.data.own import OWN as OWN
from dfcvae.data.own import as_splits as as_splits
from dfcvae.data.own import faces as faces
from dfcvae.data.source import SYNTHETIC as SYNTHETIC
from dfcvae.data.source import absent as absent
from dfcvae.data.source import at_hand as at_hand
from dfcvae.data.source import check_at_hand as check_at_hand
from dfcvae.data.source import data_of as data_of
from dfcvae.data.source import decode_face as decode_face
from dfcvae.data.source import load_faces as load_faces
from dfcvae.data.source import read_face as read_face
from dfcvae.data.source import source_name as source_name
from dfcvae.data.source import synthetic_faces as synthetic_faces
from dfcvae.data.source import tell_other_data as tell_other_data

"""Faces to train on: CelebA as it is on disk, any folder of images, or synthetic faces."""

from dfcvae.data.batches import Batches as Batches
from dfcvae.data.batches import TrainingBatches as TrainingBatches
from dfcvae.data.cache import prepare as prepare
from dfcvae.data.celeba import open_images as open_images
from dfcvae.data.decode import Rendering as Rendering
from dfcvae.data.faces import Faces as Faces
from dfcvae.data.faces import Splits as Splits
from dfcvae.data.faces import filled as filled
from dfcvae.data.folders import ImageSet as ImageSet
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

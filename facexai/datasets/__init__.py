"""Where faces come from: folders, pair lists and packs; rendered ones from `facexai.datasets.rendered`.

Nothing here imports torch, so that processes which only read stay small.
"""

from facexai.datasets.bin_packs import BinPack as BinPack
from facexai.datasets.bin_packs import write_bin_pack as write_bin_pack
from facexai.datasets.folders import FittedImages as FittedImages
from facexai.datasets.folders import IdentityFolder as IdentityFolder
from facexai.datasets.folders import ImageFolder as ImageFolder
from facexai.datasets.folders import Images as Images
from facexai.datasets.folders import PairList as PairList
from facexai.datasets.folders import faces_at as faces_at
from facexai.datasets.folders import load_faces as load_faces
from facexai.datasets.poses import PoseFolder as PoseFolder
from facexai.datasets.record_faces import RecordFaces as RecordFaces
from facexai.datasets.record_faces import identity_faces as identity_faces

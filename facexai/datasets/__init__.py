"""Where faces come from: folders, pair lists, and the renderer."""

from facexai.datasets.folders import FittedImages as FittedImages
from facexai.datasets.folders import IdentityFolder as IdentityFolder
from facexai.datasets.folders import ImageFolder as ImageFolder
from facexai.datasets.folders import PairList as PairList
from facexai.datasets.folders import load_faces as load_faces
from facexai.datasets.poses import PoseFolder as PoseFolder
from facexai.datasets.rendered import RenderedFaces as RenderedFaces
from facexai.datasets.rendered import RenderedPoses as RenderedPoses

"""Frontalizers: profile embeddings -> what the face would have from the front. One file a method, one interface."""

from facexai.models.frontalizers.agpm import AGPM as AGPM
from facexai.models.frontalizers.agpm import progressive_gates as progressive_gates
from facexai.models.frontalizers.attention import AttentionModule as AttentionModule
from facexai.models.frontalizers.controls import CENTRINGS as CENTRINGS
from facexai.models.frontalizers.controls import CONTROLS as CONTROLS
from facexai.models.frontalizers.controls import WCCN as WCCN
from facexai.models.frontalizers.controls import GlobalCentring as GlobalCentring
from facexai.models.frontalizers.controls import PoseClassCentring as PoseClassCentring
from facexai.models.frontalizers.controls import build_control as build_control
from facexai.models.frontalizers.controls import fit_global_centring as fit_global_centring
from facexai.models.frontalizers.controls import fit_pose_centring as fit_pose_centring
from facexai.models.frontalizers.controls import fit_wccn as fit_wccn
from facexai.models.frontalizers.dream import DREAM as DREAM
from facexai.models.frontalizers.dream import yaw_gate as yaw_gate
from facexai.models.frontalizers.frontalization import Frontalization as Frontalization
from facexai.models.frontalizers.frontalization import build_frontalization as build_frontalization
from facexai.models.frontalizers.fspfm import FSPFM as FSPFM
from facexai.models.frontalizers.interface import FRONTALIZERS as FRONTALIZERS
from facexai.models.frontalizers.interface import Frontalizer as Frontalizer
from facexai.models.frontalizers.interface import build_frontalizer as build_frontalizer
from facexai.models.frontalizers.pad import PADLike as PADLike
from facexai.models.frontalizers.pam import PAMLike as PAMLike

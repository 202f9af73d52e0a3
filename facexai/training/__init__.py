"""Training loops, and the presets that hold the papers' values."""

from facexai.training.configs import PRESETS as PRESETS
from facexai.training.configs import DDFVConfig as DDFVConfig
from facexai.training.configs import DecoderConfig as DecoderConfig
from facexai.training.configs import FinetuneConfig as FinetuneConfig
from facexai.training.configs import HopeNetConfig as HopeNetConfig
from facexai.training.configs import PretrainConfig as PretrainConfig
from facexai.training.configs import XCosConfig as XCosConfig
from facexai.training.configs import override as override
from facexai.training.configs import preset as preset
from facexai.training.ddfv import train_ddfv as train_ddfv
from facexai.training.decoder import train_decoder as train_decoder
from facexai.training.frontalizer import train_frontalizer as train_frontalizer
from facexai.training.hopenet import train_hopenet as train_hopenet
from facexai.training.loop import read_log as read_log
from facexai.training.pretrain import train_pose_invariant as train_pose_invariant
from facexai.training.xcos import train_xcos as train_xcos

"""What the networks are trained to make small. One file an idea."""

from facexai.losses.adaptation import AttentionAdaptationLoss as AttentionAdaptationLoss
from facexai.losses.adaptation import adaptation_loss as adaptation_loss
from facexai.losses.adaptation import angular_distillation_loss as angular_distillation_loss
from facexai.losses.adaptation import huang_weight as huang_weight
from facexai.losses.arcface import ArcFaceLoss as ArcFaceLoss
from facexai.losses.head_pose import head_pose_loss as head_pose_loss
from facexai.losses.reconstruction import reconstruction_loss as reconstruction_loss

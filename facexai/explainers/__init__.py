"""Explainers: maps of where two faces look alike to a network, and where different.

Importing a method's module files it in `EXPLAINERS`.
"""

from facexai.explainers.baselines import Centre as Centre
from facexai.explainers.baselines import Detail as Detail
from facexai.explainers.baselines import Edges as Edges
from facexai.explainers.baselines import MeanMap as MeanMap
from facexai.explainers.baselines import Random as Random
from facexai.explainers.cams import GradCAM as GradCAM
from facexai.explainers.cams import GradCAMPlusPlus as GradCAMPlusPlus
from facexai.explainers.contrasts import Contrast as Contrast
from facexai.explainers.contrasts import contrast as contrast
from facexai.explainers.corr_rise import CorrRISE as CorrRISE
from facexai.explainers.ddfv import DDFV as DDFV
from facexai.explainers.ddfv import DDFVPaper as DDFVPaper
from facexai.explainers.ddfv import Decomposition as Decomposition
from facexai.explainers.ddfv import decompose as decompose
from facexai.explainers.ddfv_gradient import DDFVGradient as DDFVGradient
from facexai.explainers.excitation import ExcitationBackprop as ExcitationBackprop
from facexai.explainers.excitation_triplets import subtree_excitation as subtree_excitation
from facexai.explainers.excitation_triplets import triplet_excitation as triplet_excitation
from facexai.explainers.fggb import FGGB as FGGB
from facexai.explainers.fggb import EmbeddingGradients as EmbeddingGradients
from facexai.explainers.fggb import embedding_gradients as embedding_gradients
from facexai.explainers.frontalization import FrontalizationMaps as FrontalizationMaps
from facexai.explainers.frontalization import explain_frontalization as explain_frontalization
from facexai.explainers.gallery import PreparedProbe as PreparedProbe
from facexai.explainers.gallery import explain_gallery as explain_gallery
from facexai.explainers.gallery import prepare_partners as prepare_partners
from facexai.explainers.gallery import prepare_probe as prepare_probe
from facexai.explainers.gradients import Gradient as Gradient
from facexai.explainers.gradients import InputXGradient as InputXGradient
from facexai.explainers.gradients import IntegratedGradients as IntegratedGradients
from facexai.explainers.gradients import SmoothGrad as SmoothGrad
from facexai.explainers.interface import EXPLAINERS as EXPLAINERS
from facexai.explainers.interface import Explainer as Explainer
from facexai.explainers.interface import explain as explain
from facexai.explainers.interface import make_explainer as make_explainer
from facexai.explainers.lime import LIME as LIME
from facexai.explainers.masking import MaskedEmbeddings as MaskedEmbeddings
from facexai.explainers.masking import gallery_maps as gallery_maps
from facexai.explainers.max_pool import MaxPool as MaxPool
from facexai.explainers.min_plus import MinPlus as MinPlus
from facexai.explainers.occlusion import Occlusion as Occlusion
from facexai.explainers.residuals import ImageResiduals as ImageResiduals
from facexai.explainers.residuals import channel_residuals as channel_residuals
from facexai.explainers.rise import RISE as RISE
from facexai.explainers.stylianou import Stylianou as Stylianou
from facexai.explainers.xcos import XCos as XCos
from facexai.explainers.xssab import XSSAB as XSSAB

"""Contrast: the map against the partner less the map against other people.

    H(A, B) - mean over r of H(A, R_r)

What a method says of face A whoever it is compared with cancels; what it says of A beside B stays.

Source: ours. The idea of a dual signal to subtract is that of Zhang et al., "Top-down Neural Attention by Excitation
Backprop" (2018), section 3.3; there it is the negated score, here another face.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from facexai.errors import InputError
from facexai.explainers.ddfv import DDFV
from facexai.explainers.gallery import explain_gallery
from facexai.explainers.interface import EXPLAINERS, Explainer, checked, evaluation, make_explainer
from facexai.explainers.masking import MaskingExplainer, gallery_maps
from facexai.explainers.reference_faces import reference_faces
from facexai.explainers.scores import pair_embeddings
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair, Saliency


@EXPLAINERS.register("contrast")
@dataclass(frozen=True)
class Contrast:
    """Any method, against the partner less against references.

    Args:
        of: the method whose maps are subtracted.
        options: its options.
        references: faces of other people. Shape (R, 3, H, W); rendered ones where None, which suit a network trained on
            rendered faces. For photographs give photographs.
        people: how many rendered references.
        seed: of the rendered references.
    """

    of: str = "ddfv"
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    references: Tensor | None = field(default=None, repr=False, compare=False)
    people: int = 4
    seed: int = 42

    unsigned: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.of == "contrast":
            raise InputError("contrast takes the name of another method; got 'contrast'")
        if self.people < 1:
            raise InputError(f"people must be at least 1; got {self.people}")
        self.explainer()

    def explainer(self) -> Explainer:
        """The method, with its options."""
        return make_explainer(self.of, **self.options)

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """Both maps; each image keeps its place and changes its partner."""
        references = self.references
        if references is None:
            references = reference_faces(self.people, self.seed, model.input_size)
        maps = []
        for image, partner in (pair.images, pair.swapped().images):
            partners = torch.cat([partner[None], references.to(partner)])
            enrolled, *others = self.maps(image, partners, model)
            maps.append(enrolled - torch.stack(others).mean(0))
        probe, gallery = pair_embeddings(model, pair)
        return Saliency(torch.stack(maps), float(probe @ gallery), repr(self))

    def maps(self, image: Tensor, partners: Tensor, model: FaceRecognizer) -> Tensor:
        """Maps of an image (3, H, W), one for each partner (N, 3, H, W); in one go where the method can. (N, H, W)."""
        explainer = self.explainer()
        if isinstance(explainer, DDFV) and explainer.weight != "product" and not explainer.tolerance:
            return explain_gallery(image, partners, model, self.of, **self.options)[0]
        if isinstance(explainer, MaskingExplainer):
            with torch.no_grad():
                embeddings = model.embed(partners.to(next(model.parameters(), partners)))
            return gallery_maps(image, embeddings, model, self.of, **self.options)
        return torch.stack([explainer(FacePair(image, partner), model).signed[0] for partner in partners])


def contrast(
    pair: FacePair, references: Tensor, model: FaceRecognizer, method: str = "ddfv", **options: Any
) -> Saliency:
    """H(A, B) - H(A, B') for a stranger B', or less the mean over a gallery of strangers.

    Args:
        pair: two aligned faces of the model's input size.
        references: one other face, or several. Shape (3, H, W) or (R, 3, H, W).
        model: the network whose score is explained.
        method: one of `EXPLAINERS`.
        options: fields of that explainer.

    Raises:
        InputError: as `explain`, and for references that are not images like those of the pair.
    """
    references = references[None] if references.ndim == 3 else references
    if references.ndim != 4 or len(references) == 0 or references.shape[1:] != pair.probe.shape:
        raise InputError(
            f"references must be images {tuple(pair.probe.shape)} like those of the pair; got "
            f"{tuple(references.shape)}. Align them with facexai.align_face."
        )
    explainer = Contrast(method, options, references)
    with evaluation(pair, model):
        saliency = explainer(pair, model)
    return checked(saliency, pair)

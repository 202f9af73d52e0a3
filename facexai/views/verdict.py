"""A score and a threshold, put into words once for figures, report and command line."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """What a verification system decides about a pair.

    Args:
        score: cosine similarity of the pair.
        threshold: decision threshold on the score; None where the model has none.

    Convention: a pair is accepted as one person when `score >= threshold`.
    """

    score: float
    threshold: float | None

    @property
    def accepted(self) -> bool | None:
        """True: taken for one person. False: for two. None: no threshold, no decision."""
        return None if self.threshold is None else self.score >= self.threshold

    @property
    def margin(self) -> float | None:
        """How far the score lies above (or, negative, below) the threshold."""
        return None if self.threshold is None else self.score - self.threshold

    @property
    def headline(self) -> str:
        """The decision in a few words: what was done with the pair, not what is true of it."""
        return {True: "Accepted: one person", False: "Refused: two people", None: "No decision"}[self.accepted]

    @property
    def sentence(self) -> str:
        """The decision with its reason."""
        if self.threshold is None:
            return f"The score is {self.score:.3f}. This model has no calibrated threshold: give one to decide."
        side = "above" if self.accepted else "below"
        taken = "one person" if self.accepted else "two people"
        distance = abs(self.score - self.threshold)
        return (
            f"The score {self.score:.3f} is {distance:.3f} {side} the threshold {self.threshold:.3f}: "
            f"the model takes the two faces for {taken}."
        )

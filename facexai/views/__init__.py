"""Figures, explorers and the report: the only place for plotly and widgets.

The names below are looked up on first use, so that a command that only needs a verdict or an overlay does not load
plotly.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facexai.views.curves import show_roc, show_scores, show_training
    from facexai.views.figures import show_channels, show_faces, show_pair, show_saliency
    from facexai.views.frontalization import FrontalizationExplorer, show_frontalization
    from facexai.views.frontalization_tables import frontalization_table
    from facexai.views.gallery import GalleryExplorer
    from facexai.views.judgements import show_hiding, show_standings
    from facexai.views.leaderboard_tables import ranks_table, standings_table
    from facexai.views.paper_tables import paper_table
    from facexai.views.renderer import use_book_renderer
    from facexai.views.report import strongest_channels, write_report
    from facexai.views.score_explorer import ScoreExplorer
    from facexai.views.threshold_explorer import ThresholdExplorer
    from facexai.views.truth import show_truth

_HOME = {
    "FrontalizationExplorer": "frontalization",
    "GalleryExplorer": "gallery",
    "ScoreExplorer": "score_explorer",
    "ThresholdExplorer": "threshold_explorer",
    "frontalization_table": "frontalization_tables",
    "paper_table": "paper_tables",
    "ranks_table": "leaderboard_tables",
    "show_channels": "figures",
    "show_faces": "figures",
    "show_frontalization": "frontalization",
    "show_hiding": "judgements",
    "show_pair": "figures",
    "show_roc": "curves",
    "show_saliency": "figures",
    "show_scores": "curves",
    "show_standings": "judgements",
    "show_training": "curves",
    "show_truth": "truth",
    "standings_table": "leaderboard_tables",
    "strongest_channels": "report",
    "use_book_renderer": "renderer",
    "write_report": "report",
}

__all__ = [
    "FrontalizationExplorer",
    "GalleryExplorer",
    "ScoreExplorer",
    "ThresholdExplorer",
    "frontalization_table",
    "paper_table",
    "ranks_table",
    "show_channels",
    "show_faces",
    "show_frontalization",
    "show_hiding",
    "show_pair",
    "show_roc",
    "show_saliency",
    "show_scores",
    "show_standings",
    "show_training",
    "show_truth",
    "standings_table",
    "strongest_channels",
    "use_book_renderer",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)

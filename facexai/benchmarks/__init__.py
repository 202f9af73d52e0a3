"""Judges: of networks (verification protocols) and of maps (hiding game, insertion and deletion)."""

from facexai.benchmarks.hiding_game import HidingGame as HidingGame
from facexai.benchmarks.insertion_deletion import InsertionDeletion as InsertionDeletion
from facexai.benchmarks.judges import Judge as Judge
from facexai.benchmarks.judges import JudgedPairs as JudgedPairs
from facexai.benchmarks.judges import Method as Method
from facexai.benchmarks.judges import Metric as Metric
from facexai.benchmarks.localization import Localization as Localization
from facexai.benchmarks.localization import localization as localization
from facexai.benchmarks.protocols import BENCHMARKS as BENCHMARKS
from facexai.benchmarks.protocols import Benchmark as Benchmark
from facexai.benchmarks.protocols import PairListBenchmark as PairListBenchmark
from facexai.benchmarks.protocols import RenderedProtocol as RenderedProtocol
from facexai.benchmarks.sanity import Sanity as Sanity
from facexai.benchmarks.standings import Results as Results
from facexai.benchmarks.standings import combined_rank as combined_rank
from facexai.benchmarks.tables import table as table
from facexai.benchmarks.verification import VerificationReport as VerificationReport
from facexai.benchmarks.verification import VerificationSet as VerificationSet
from facexai.benchmarks.verification import embed_all as embed_all
from facexai.benchmarks.verification import equal_error_rate as equal_error_rate
from facexai.benchmarks.verification import measure as measure
from facexai.benchmarks.verification import roc as roc
from facexai.benchmarks.verification import tar_at_far as tar_at_far
from facexai.benchmarks.verification import verify as verify

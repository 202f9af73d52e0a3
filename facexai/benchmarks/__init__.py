"""Judges: verification protocols and what they measure."""

from facexai.benchmarks.protocols import BENCHMARKS as BENCHMARKS
from facexai.benchmarks.protocols import Benchmark as Benchmark
from facexai.benchmarks.protocols import PairListBenchmark as PairListBenchmark
from facexai.benchmarks.protocols import RenderedProtocol as RenderedProtocol
from facexai.benchmarks.verification import VerificationReport as VerificationReport
from facexai.benchmarks.verification import VerificationSet as VerificationSet
from facexai.benchmarks.verification import embed_all as embed_all
from facexai.benchmarks.verification import equal_error_rate as equal_error_rate
from facexai.benchmarks.verification import measure as measure
from facexai.benchmarks.verification import roc as roc
from facexai.benchmarks.verification import tar_at_far as tar_at_far
from facexai.benchmarks.verification import verify as verify

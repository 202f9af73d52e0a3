"""Machine code on disk: processes that compile the same function at the same time do not spoil it for those after."""

import subprocess
import sys

KERNEL = """
from facexai.rendering.compiled import compiled

@compiled()
def half(x):
    return x / 2
"""
# The window between reading the index and writing the code is held open, as a slow disk would.
SLOW = """
import sys, time
from numba.core.caching import IndexDataCacheFile
read = IndexDataCacheFile._load_index
def slowly(self):
    index = read(self)
    time.sleep(1.0)
    return index
IndexDataCacheFile._load_index = slowly
"""
RACE = """
from kernel import half
import numpy as np
print("ready", flush=True)
input()
print(half({argument}))
"""
AFTER = """
from kernel import half
import numpy as np
print(half(7), half(np.float32(7)), half(np.full(2, 7.0))[0], half(np.full(2, 7, np.float32))[0])
print(sum(half.stats.cache_hits.values()), sum(half.stats.cache_misses.values()))
"""


def test_two_processes_that_compile_at_once_leave_a_cache_that_works(tmp_path):
    (tmp_path / "kernel.py").write_text(KERNEL, encoding="utf-8")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": tmp_path}
    arguments = "np.full(2, 7.0)", "np.full(2, 7, np.float32)"
    racers = [
        subprocess.Popen([sys.executable, "-c", SLOW + RACE.format(argument=argument)], **pipes)
        for argument in arguments
    ]
    for racer in racers:  # both wait until the other has imported all
        assert racer.stdout is not None and racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    answers = [racer.communicate(timeout=120)[0] for racer in racers]
    assert answers == ["[3.5 3.5]\n", "[3.5 3.5]\n"]
    after = subprocess.run([sys.executable, "-c", AFTER], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert after.stdout == "3.5 3.5 3.5 3.5\n2 2\n", after.stderr  # both arrays' code is there, and it is theirs

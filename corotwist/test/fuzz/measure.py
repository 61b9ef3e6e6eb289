"""
What an input costs: time that follows its size, and memory that does.
"""

import tracemalloc
from time import thread_time

from attrs import frozen

from corotwist.test.fuzz.target import Target, attempted


@frozen
class Memory:
    """
    What taking an input needed at most.
    """

    target: Target
    size: int
    peakBytes: int

    @property
    def swell(self) -> float:
        """
        Bytes for each byte of input, beyond what every input may need.
        """
        return (self.peakBytes - self.target.roomBytes) / max(1, self.size)


def seconds(target: Target, data: bytes, attempts: int) -> float:
    """
    Of the processor, for one input in a new world; the least of some attempts,
    because what else runs on the machine costs time, too.
    """
    spent = []
    for _ in range(attempts):
        run = target.measurable()
        began = thread_time()
        attempted(run, target.refusals, data)
        spent.append(thread_time() - began)
    return min(spent)


def memory(target: Target, data: bytes) -> Memory:
    """
    For one input in a new world, that itself is not counted.
    """
    # What is made once is no part of it.
    attempted(target.measurable(), target.refusals, data)
    run = target.measurable()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        attempted(run, target.refusals, data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return Memory(target, len(data), peak - before)

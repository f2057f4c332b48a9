"""Functions that the peer scripts share: measuring and printing."""

import os
import statistics
import time

WORKERS = len(os.sched_getaffinity(0))


def median(call, times=5):
    """The median time of a call, in seconds, after a warm-up call."""
    call()
    took = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return statistics.median(took)


def say(task, name, call, expected=None, times=5, per=1):
    """Prints `task<TAB>name<TAB>seconds` of a call that returns `expected` and does `per` units of work."""
    if expected is not None:
        result = call()
        assert result == expected, f"{name} computes another result: {result}"
    print(f"{task}\t{name}\t{median(call, times) / per:.9f}", flush=True)

"""What the scripts of Python's peers share: how they measure, and how they say it."""

import os
import statistics
import time

WORKERS = len(os.sched_getaffinity(0))


def median(call, times=5):
    """The median time of a call, in seconds, after one that is not counted."""
    call()
    took = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return statistics.median(took)


def say(task, name, call, expected=None, times=5, per=1):
    """Prints one figure, `task<TAB>name<TAB>seconds`, of a call that gives what is expected and does `per` things."""
    if expected is not None:
        result = call()
        assert result == expected, f"{name} computes something else: {result}"
    print(f"{task}\t{name}\t{median(call, times) / per:.9f}", flush=True)

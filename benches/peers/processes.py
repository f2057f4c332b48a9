"""Python's process pools, for `compare processes`: one line for each figure, `task<TAB>name<TAB>seconds`."""

import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import Pool

WORKERS = len(os.sched_getaffinity(0))
BIG = bytes(100 << 20)


def empty(_=None):
    pass


def square(n):
    return n * n


def same(data):
    return data


def median(call, times):
    took = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return statistics.median(took)


def say(name, seconds):
    print(f"{name}\t{seconds:.9f}", flush=True)


def pipelined(submit):
    tasks = [submit(empty) for _ in range(10_000)]
    for task in tasks:
        task.result()


def executor(name, pool):
    pool.submit(empty).result()
    say(f"empty\t{name}", median(lambda: pool.submit(empty).result(), 500))
    say(f"pipelined\t{name}", median(lambda: pipelined(pool.submit), 3) / 10_000)
    say(f"bytes\t{name}", median(lambda: pool.submit(same, BIG).result(), 3))


def main():
    with ProcessPoolExecutor(WORKERS) as pool:
        executor("ProcessPoolExecutor", pool)
        chunked = median(lambda: list(pool.map(square, range(100_000), chunksize=1000)), 3)
        say("map\tProcessPoolExecutor, chunksize 1000", chunked)
    with Pool(WORKERS) as pool:
        pool.apply(empty)
        say("empty\tmultiprocessing.Pool", median(lambda: pool.apply(empty), 500))
        say("map\tmultiprocessing.Pool", median(lambda: pool.map(square, range(100_000)), 9))
    try:
        from loky import get_reusable_executor
    except ImportError:
        return
    executor("loky", get_reusable_executor(WORKERS))


if __name__ == "__main__":
    main()

"""Functions on Python's pools, for `compare python`: the workloads of their tutorials."""

import asyncio
import math
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

from peers import WORKERS, say

CANDIDATES = [112272535095293, 112582705942171, 112272535095293, 115280095190773, 115797848077099, 1099726899285419]
ARE_PRIME = [True, True, True, True, True, False]
NUMBERS = 100_000
SLEEPERS = 200


def is_prime(n):
    if n < 2 or n % 2 == 0:
        return n == 2
    return all(n % divisor for divisor in range(3, math.isqrt(n) + 1, 2))


def square(n):
    return n * n


def range_sum(ends):
    total = 0
    for n in range(*ends):
        total += n
    return total


def sleep(_):
    time.sleep(0.05)


def halves(end):
    return [(0, end // 2), (end // 2, end)]


def pools():
    """Each pool's name and its `map(function, items)`; pools that are not installed are skipped."""
    with ThreadPoolExecutor(WORKERS) as pool:
        yield "ThreadPoolExecutor", lambda function, items: list(pool.map(function, items))
    with ProcessPoolExecutor(WORKERS) as pool:

        def by_executor(function, items):
            # The default, one item for each message, takes seconds for small items.
            return list(pool.map(function, items, chunksize=max(1, len(items) // (WORKERS * 4))))

        yield "ProcessPoolExecutor", by_executor
    with multiprocessing.Pool(WORKERS) as pool:
        yield "multiprocessing.Pool", pool.map
    try:
        from joblib import Parallel, delayed

        parallel = Parallel(n_jobs=WORKERS)
        yield "joblib", lambda function, items: parallel(delayed(function)(item) for item in items)
    except ImportError:
        pass
    try:
        from mpire import WorkerPool

        with WorkerPool(WORKERS, keep_alive=True) as pool:

            def by_mpire(function, items):
                # mpire unpacks a tuple into several arguments.
                items = [(item,) for item in items]
                return pool.map(function, items)

            yield "mpire", by_mpire
    except ImportError:
        pass


def functions():
    sums = [sum(range(*ends)) for ends in halves(10_000_000)]
    squares = [n * n for n in range(NUMBERS)]
    say("primes", "a loop", lambda: [is_prime(n) for n in CANDIDATES], ARE_PRIME, times=3)
    say("range sum", "a loop", lambda: [range_sum(ends) for ends in halves(10_000_000)], sums, times=3)
    say("squares", "a loop", lambda: [square(n) for n in range(NUMBERS)], squares)
    for name, map_ in pools():
        say("primes", name, lambda: map_(is_prime, CANDIDATES), ARE_PRIME, times=3)
        say("range sum", name, lambda: map_(range_sum, halves(10_000_000)), sums, times=3)
        say("squares", name, lambda: map_(square, range(NUMBERS)), squares)


def sleepers():
    def cold():
        with ThreadPoolExecutor(SLEEPERS) as pool:
            list(pool.map(sleep, range(SLEEPERS)))

    async def sleeps():
        await asyncio.gather(*(asyncio.sleep(0.05) for _ in range(SLEEPERS)))

    say("sleepers", "ThreadPoolExecutor, threads started", cold)
    with ThreadPoolExecutor(SLEEPERS) as pool:
        say("sleepers", "ThreadPoolExecutor", lambda: list(pool.map(sleep, range(SLEEPERS))))
    say("sleepers", "asyncio", lambda: asyncio.run(sleeps()))


def tasks():
    with ThreadPoolExecutor(WORKERS) as pool:

        def one():
            for _ in range(1_000):
                pool.submit(int).result()

        def many():
            for future in [pool.submit(int) for _ in range(10_000)]:
                future.result()

        say("task", "ThreadPoolExecutor", one, per=1_000)
        say("pipelined task", "ThreadPoolExecutor", many, per=10_000)


if __name__ == "__main__":
    functions()
    sleepers()
    tasks()

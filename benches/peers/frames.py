"""pandas in parallel, for `compare python`: chunks of a frame, a function of rows, and a function of groups."""

import sys
from concurrent.futures import ProcessPoolExecutor

from peers import WORKERS, say

try:
    import numpy
    import pandas
except ImportError:
    sys.exit(0)

ROWS, CHUNKS, GROUPS, SLOW_ROWS = 2_000_000, 4, 1_000, 100_000


def squares(frame):
    return frame**2


def row(r):
    return r["a"] * r["a"] + r["b"]


def summary(group):
    return pandas.Series({"mean": group["a"].mean(), "sum": (group["b"] * group["c"]).sum()})


def in_chunks(pool, frame):
    size = len(frame) // CHUNKS
    chunks = [frame.iloc[start : start + size] for start in range(0, len(frame), size)]
    return pandas.concat(pool(squares, chunks))


def main():
    numbers = numpy.random.default_rng(0)
    frame = pandas.DataFrame({name: numbers.integers(0, 1_000, ROWS) for name in "abcd"})
    few = frame.head(SLOW_ROWS)
    keyed = frame.head(ROWS // 2).assign(k=numbers.integers(0, GROUPS, ROWS // 2))
    by_key = keyed.groupby("k")[["a", "b", "c"]]

    say("frame squares", "pandas", lambda: squares(frame))
    say("rows", "pandas apply", lambda: few.apply(row, axis=1), times=3)
    say("groups", "pandas apply", lambda: by_key.apply(summary), times=3)
    with ProcessPoolExecutor(WORKERS) as pool:
        say("frame squares", "ProcessPoolExecutor", lambda: in_chunks(pool.map, frame))
    try:
        from joblib import Parallel, delayed

        def by_joblib(function, chunks):
            return Parallel(n_jobs=WORKERS)(delayed(function)(chunk) for chunk in chunks)

        say("frame squares", "joblib", lambda: in_chunks(by_joblib, frame))
    except ImportError:
        pass
    try:
        import dask
        from dask import dataframe

        cut = dataframe.from_pandas(frame, npartitions=CHUNKS)
        for scheduler in ("threads", "processes"):
            with dask.config.set(scheduler=scheduler, num_workers=WORKERS):
                say(
                    "frame squares",
                    f"dask, {scheduler}",
                    lambda: cut.map_partitions(squares, meta=frame.head(0)).compute(),
                )
        with dask.config.set(scheduler="processes", num_workers=WORKERS):
            cut = dataframe.from_pandas(keyed, npartitions=CHUNKS).groupby("k")[["a", "b", "c"]]
            meta = {"mean": "f8", "sum": "f8"}
            say("groups", "dask, processes", lambda: cut.apply(summary, meta=meta).compute(), times=3)
    except ImportError:
        pass
    try:
        from pandarallel import pandarallel

        pandarallel.initialize(nb_workers=WORKERS, progress_bar=False, verbose=0)
        say("rows", "pandarallel", lambda: few.parallel_apply(row, axis=1), times=3)
        say("groups", "pandarallel", lambda: by_key.parallel_apply(summary), times=3)
    except ImportError:
        pass


if __name__ == "__main__":
    main()

"""Where a suite's jobs run, other than in processes of this machine: on the workers of a Dask cluster."""

from collections.abc import Iterator
from contextlib import contextmanager

import joblib  # type: ignore[import-untyped]

from efface.errors import RequestError

WAIT_S = 20.0  # for the scheduler, and for workers
MIN_WORKERS = 2  # the work of one joblib does in the process that asks


@contextmanager
def dask_workers(address: str) -> Iterator[int]:
    """Let joblib's work within the block run on a Dask cluster; gives the number of its workers.

    An error of a job is raised as ever, but joblib waits forever for a job under which Dask lost several workers:
    interrupt it, and run again.

    Args:
        address: of the scheduler. Each worker must have one thread, since jobs seed their process's random numbers and
            measure its CPU time, and must find the package `benchmarks` (started in the checkout, say).

    Yields:
        The number of workers.

    Raises:
        RequestError: Dask is not installed, nothing answers, or there are too few workers or too many threads in one.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise RequestError("--dask needs Dask: run `pip install -e '.[bench]'`") from error
    try:
        client = Client(address, timeout=WAIT_S)
    except (OSError, ValueError) as error:  # a TimeoutError is an OSError
        words = " ".join(str(error).split())
        raise RequestError(f"--dask {address}: no Dask scheduler answers there ({words})") from error
    with client:
        try:
            client.wait_for_workers(MIN_WORKERS, timeout=WAIT_S)
        except TimeoutError as error:
            raise RequestError(f"--dask {address}: the cluster has fewer than {MIN_WORKERS} workers") from error
        threads = client.nthreads().values()
        if max(threads) > 1:
            raise RequestError(
                f"--dask {address}: its workers have up to {max(threads)} threads, which would share one state of "
                "random numbers: start each with one (`dask worker --nthreads 1`)"
            )
        with joblib.parallel_config(backend="dask"):
            yield len(threads)

"""Legs one after another, or side by side on a Dask cluster; failures are tried again and listed."""

from __future__ import annotations

import contextlib
import importlib
import threading
import traceback
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..simulate.checkpoint import write_text
from .leg import run_leg
from .prepare import Job
from .store import FAILURE, LOG

_NOT_AGAIN = (ValueError, ImportError)  # what users must mend
_ONE_AT_A_TIME = threading.Lock()  # a worker of Dask may have many threads, but a process has one standard output


class Outcome(NamedTuple):
    """How a leg ended: `error` is "" if it is done."""

    job: Job
    error: str
    attempts: int


def attempt(job: Job, to_log: bool) -> tuple[str, bool]:
    """Run a leg; return what went wrong, "" for nothing, and whether trying again may help.

    `to_log`: what it says goes to leg.log, since others speak on the terminal.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / FAILURE).unlink(missing_ok=True)
    with contextlib.ExitStack() as stack:
        if to_log:
            stack.enter_context(_ONE_AT_A_TIME)
            log = stack.enter_context(open(job.folder / LOG, "a", encoding="utf-8", buffering=1))
            stack.enter_context(contextlib.redirect_stdout(log))
        try:
            run_leg(job)
        except Exception as error:
            text = " ".join(str(error).split()) or type(error).__name__
            write_text(job.folder / FAILURE, f"{text}\n\n{traceback.format_exc()}")
            return text, not isinstance(error, _NOT_AGAIN)
    return "", False


def run_all(jobs: Sequence[Job], workers: int, address: str | None, retries: int) -> Iterator[Outcome]:
    """Run legs, and yield each when it has ended. Raises ImportError or OSError if there is no cluster."""
    if workers == 1 and address is None:
        for job in jobs:
            yield _in_this_process(job, retries)
    elif jobs:
        with _client(min(workers, len(jobs)), address) as client:
            yield from _on_cluster(client, jobs, retries)


def _in_this_process(job: Job, retries: int) -> Outcome:
    attempts, error, again = 0, "", True
    while again and attempts <= retries:
        error, again = attempt(job, False)
        attempts += 1
    return Outcome(job, error, attempts)


def _on_cluster(client: Any, jobs: Sequence[Job], retries: int) -> Iterator[Outcome]:
    attempts = dict.fromkeys((job.folder for job in jobs), 0)
    running: dict[Any, Job] = {}

    def submit(job: Job) -> Any:
        attempts[job.folder] += 1
        future = client.submit(attempt, job, True, pure=False)
        running[future] = job
        return future

    ended = _distributed().as_completed([submit(job) for job in jobs])
    for future in ended:
        job = running.pop(future)
        try:
            error, again = future.result()
        except Exception as failure:  # its process ended, or the cluster lost it
            error, again = f"the process that ran it ended ({type(failure).__name__}: {failure})", True
            job.folder.mkdir(parents=True, exist_ok=True)  # it may not have begun
            write_text(job.folder / FAILURE, error)
        if error and again and attempts[job.folder] <= retries:
            ended.add(submit(job))
        else:
            yield Outcome(job, error, attempts[job.folder])


def _distributed() -> Any:
    """Dask's package. Raises ImportError that says what to install."""
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise ImportError(
            "legs side by side need Dask, which is not installed: run pip install 'openmm-nnp[dask]', or leave "
            "--workers and --cluster out"
        ) from error


@contextlib.contextmanager
def _client(workers: int, address: str | None) -> Iterator[Any]:
    """A client of the cluster at an address, or of processes on this machine."""
    distributed = _distributed()
    with contextlib.ExitStack() as stack:
        if address is None:
            # A process that dies is our failure to count, and no leg is to wait in a process that works on another.
            settings = {"distributed.scheduler.allowed-failures": 0, "distributed.scheduler.worker-saturation": 1.0}
            stack.enter_context(importlib.import_module("dask").config.set(settings))
            address = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=0,  # none: torch's memory is nothing that Dask could free
                    dashboard_address=None,
                    silence_logs="CRITICAL",
                )
            )
        try:
            client = distributed.Client(address, timeout="30s")
        except (OSError, ValueError) as error:
            raise OSError(
                f"no Dask scheduler answers at --cluster {address} ({error}): start one with `dask scheduler`, and "
                "workers with `dask worker`"
            ) from error
        yield stack.enter_context(client)

"""Several processes that compute one sentence-transformers model."""

from __future__ import annotations

import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, Final

from pgsearch.errors import ModelUnavailable
from pgsearch.models.machine import Machine

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_THREADS: Final = "OMP_NUM_THREADS"
_WARNINGS: Final = "PYTHONWARNINGS"


class Processes:
    """A model's processes, started when they are first needed; threads take turns with them.

    Args:
        transformer: The loaded model; its weights move to memory that the processes share.
        machine: How many processes, on which devices.
    """

    def __init__(self, transformer: SentenceTransformer, machine: Machine) -> None:
        self._transformer = transformer
        self._devices = list(islice(cycle(machine.devices or _all_devices()), machine.processes))
        self._pool: dict[Any, Any] | None = None
        self._turn = threading.Lock()

    @property
    def on_cpu(self) -> bool:
        """Whether they compute on the CPU, all of them."""
        return set(self._devices) == {"cpu"}

    def share(
        self, encode: Callable[..., Any], texts: list[str], options: Mapping[str, Any]
    ) -> Any:
        """Call a method of the model that computes texts, each pass in the process that is free.

        Raises:
            ModelUnavailable: A process has ended.
        """
        fair = -(-len(texts) // len(self._devices))
        size = min(fair, options["batch_size"])
        with self._turn:
            pool = self._started()
            try:
                return encode(texts, pool=pool, chunk_size=size, **options)
            except Exception as error:
                if all(process.is_alive() for process in pool["processes"]):
                    raise
                self._stop()
                raise ModelUnavailable(
                    f"A process that computes a model has ended: {error}",
                    hint="It is started again. If it ends again, look for what ends it, which "
                    "often is a lack of memory, and lower PGSEARCH_PROCESSES.",
                ) from error
            except BaseException:
                # Interrupted: results may be left over, which nobody must take for others.
                self._stop()
                raise

    def _started(self) -> dict[Any, Any]:
        if self._pool is None:
            settings = _settings(self._devices.count("cpu"))
            with _environment(settings), _deaf_to_interrupts():
                self._pool = self._transformer.start_multi_process_pool(self._devices)
            # At the end of the program too, or Python reports what they leave behind.
            self._finish = weakref.finalize(
                self, self._transformer.stop_multi_process_pool, self._pool
            )
        return self._pool

    def _stop(self) -> None:
        self._pool = None
        self._finish()


def _all_devices() -> list[str]:
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cpu"]


def _settings(processes: int) -> dict[str, str]:
    """Return environment variables for the processes.

    Args:
        processes: How many of them compute on the CPU.
    """
    settings = {}
    if processes and _THREADS not in os.environ:
        # Each would take all cores.
        settings[_THREADS] = str(max(1, (os.cpu_count() or 1) // processes))
    # The library ends its processes by a signal, before they can tidy up after themselves.
    # Python does that for them, and would say so whenever a worker stops.
    told = os.environ.get(_WARNINGS)
    quiet = "ignore:resource_tracker:UserWarning"
    settings[_WARNINGS] = f"{told},{quiet}" if told else quiet
    return settings


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """Set environment variables for processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let processes started meanwhile ignore Ctrl-C, which every process of a terminal gets.

    Whoever started them says when they end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

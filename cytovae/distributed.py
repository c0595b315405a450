"""Training shared among processes that PyTorch's ``torchrun`` started: who they are, what they exchange, how they stop.

The first process (rank 0) reads files, finds neighbours and UMAP coordinates, merges experts and writes; the others
help in the training loop alone. Every process draws the same batches, and the same noise for a whole batch, sends its
share of the rows through the network, and computes the losses of the whole batch from the outputs of all. So S (b × b),
the sums over clusters and batch normalisation are those of one process, and a step is the same but for rounding.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from cytovae.errors import ENDING_SIGNALS, DeviceError, Interrupted, UsageError
from cytovae.model import ModelOutput, MoeSimVae
from cytovae.similarity import Similarity
from cytovae.whole_batch import ShareOfUniform, gather, whole_batch_norm

POLL_SECONDS = 0.2  # between two looks at what another process has left in the store
_MOMENT = 0.01  # the same, where it is about to
_HERE, _READY, _STATE, _STOP = "here", "training", "state", "stop"


class Ranks:
    """The processes of a run, seen from one of them: its number ``rank`` of ``world``. Alone unless joined.

    See :func:`joined`.
    """

    def __init__(self, rank: int = 0, world: int = 1, store: Any = None) -> None:
        self.rank = rank
        self.world = world
        self.together = False  # whether all are in the training loop, and may only stop at the same step
        self.asked = 0  # the signal that asked this process to stop
        self.before: dict[int, Any] = {}  # who listened to signals before
        self._store = store

    @property
    def first(self) -> bool:
        """Whether this process is the one that reads and writes."""
        return self.rank == 0

    # --- the training loop --------------------------------------------------------------------------------------------

    def share(self, batch: int) -> slice:
        """Its own rows of a batch. Raises :class:`UsageError` where there are fewer rows than processes."""
        if batch < self.world:
            raise UsageError(
                f"a batch of {batch} cells cannot be shared among {self.world} processes; use a larger one"
            )
        return slice(batch * self.rank // self.world, batch * (self.rank + 1) // self.world)

    def parallel(self, network: MoeSimVae, batch: int, *, some_unused: bool) -> Callable[..., ModelOutput]:
        """What sends a share of the ``batch`` rows through ``network``; its gradients are those of the whole batch.

        ``network`` itself is changed so that batch norm and dropout are those of the whole batch. ``some_unused``: not
        every parameter has a gradient. Alone, the network is returned as it is.
        """
        if self.world == 1:
            return network
        for name, module in list(network.encoder.hidden.named_children()):
            if isinstance(module, nn.BatchNorm1d):
                setattr(network.encoder.hidden, name, whole_batch_norm(module, batch))
        network.clustering.uniform = ShareOfUniform(self.share(batch), batch)
        device = next(network.parameters()).device
        parallel: Callable[..., ModelOutput] = DistributedDataParallel(
            network,
            device_ids=[device] if device.type == "cuda" else None,
            find_unused_parameters=some_unused,
        )
        return parallel

    def gathered(self, out: ModelOutput, batch: int) -> ModelOutput:
        """The outputs of the whole batch, from this process's share of them."""
        if self.world == 1:
            return out
        whole = gather(torch.cat(out, 1), self.share(batch), batch, self.world)
        return ModelOutput(*torch.split(whole, [part.shape[1] for part in out], 1))

    def signal_to_stop(self) -> int:
        """The signal that one of the processes was asked to stop by, the same in all; 0 = none. To be called by all."""
        if self.world == 1:
            return 0
        asked = torch.tensor([self.asked], device=_device_of_collectives())
        distributed.all_reduce(asked, distributed.ReduceOp.MAX)
        return int(asked.item())

    # --- what the others wait for -------------------------------------------------------------------------------------

    def send(self, x: Tensor, similarity: Similarity) -> None:
        """Give the others, who :meth:`receive` it, what is trained on."""
        if self.world == 1:
            return
        shape = {
            **{"cells": x.shape[0], "markers": x.shape[1], "kind": similarity.kind, "weak": similarity.weak},
            "populations": similarity.populations is not None,
        }
        self._store.set(_READY, json.dumps(shape))
        self.together = True
        for tensor in (x, similarity.coordinates, similarity.labels, similarity.populations):
            if tensor is not None:
                distributed.broadcast(tensor, 0)

    def receive(self, radius: float, neighbors: int, device: str) -> tuple[Tensor, Similarity]:
        """What the first process sends: markers (n, m) and who is similar.

        Waits as long as that takes, and can be interrupted. Raises :class:`Interrupted` where the first has left.
        """
        shape = self._told(_READY)
        self.together = True
        n = shape["cells"]
        x = torch.empty(n, shape["markers"], device=device)
        coordinates = torch.empty(n, 2, device=device)
        labels = torch.empty(n, dtype=torch.int64, device=device)
        populations = torch.empty(n, dtype=torch.int64, device=device) if shape["populations"] else None
        for tensor in (x, coordinates, labels, populations):
            if tensor is not None:
                distributed.broadcast(tensor, 0)
        return x, Similarity(shape["kind"], coordinates, labels, radius, neighbors, shape["weak"], populations)

    def send_state(self, arrays: Mapping[str, NDArray[Any]], said: Mapping[str, Any]) -> None:
        """Give the others, who :meth:`receive_state` it, arrays by name and plain values. Once in a run."""
        if self.world == 1:
            return
        shapes = {name: (array.dtype.str, array.shape) for name, array in arrays.items()}
        self._store.set(_STATE, json.dumps({"shapes": shapes, "said": said}))
        for array in arrays.values():
            distributed.broadcast(torch.tensor(array, device=_device_of_collectives()), 0)

    def receive_state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """What the first process sends. Raises :class:`Interrupted` where it has left instead."""
        told = self._told(_STATE)
        arrays = {}
        for name, (dtype, shape) in told["shapes"].items():
            tensor = torch.tensor(np.empty(shape, dtype), device=_device_of_collectives())
            distributed.broadcast(tensor, 0)
            arrays[name] = tensor.cpu().numpy()
        return arrays, told["said"]

    def done(self) -> None:
        """The training loop is over: from here on every process may stop by itself."""
        self.together = False
        if self.asked:
            raise Interrupted(self.asked)

    # --- stopping -----------------------------------------------------------------------------------------------------

    def _told(self, key: str) -> Any:
        """What the first process says under ``key``, once it does. :class:`Interrupted` where one has left instead."""
        while not self._store.check([key]):
            if self._store.check([_STOP]):
                raise Interrupted(int(self._store.get(_STOP)))
            time.sleep(_MOMENT if self.together else POLL_SECONDS)
        return json.loads(self._store.get(key))

    def _watch(self, over: threading.Event) -> None:
        """Pass on to the first process, busy with its own stages, that another was asked to stop."""
        while not over.wait(POLL_SECONDS):
            try:
                stopped = self._store.check([_STOP])
                number = int(self._store.get(_STOP)) if stopped else 0
            except RuntimeError:  # the store is gone: so is the run
                return
            if stopped:
                if not over.is_set():
                    os.kill(os.getpid(), number)
                return

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self.asked = int(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)
        if self.together:
            return
        if not callable(self.before[number]):
            raise Interrupted(self.asked)
        self.before[number](number, frame)  # it knows what libraries swallow, and when the end has begun already


ALONE = Ranks()


def launched() -> bool:
    """Whether ``torchrun`` started this process as one of several."""
    return distributed.is_torchelastic_launched() and int(os.environ.get("WORLD_SIZE", "1")) > 1


def processes() -> int:
    """How many of them there are."""
    return int(os.environ["WORLD_SIZE"]) if launched() else 1


def helps() -> bool:
    """Whether this is another process than the first of several."""
    return launched() and os.environ["RANK"] != "0"


def own_device(device: str) -> str:
    """``device``, or this process's own GPU of the machine where several processes share it."""
    if device == "mps" and launched():
        raise UsageError("several processes cannot train on mps; use --device cpu")
    return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and launched() else device


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """The processes of this run, connected until the block ends; :data:`ALONE` where there is only this one.

    Signals that ask for the end raise :class:`Interrupted` in the training loop, at a step that all processes agree on
    (see :meth:`Ranks.signal_to_stop`); outside it they do what they did before, at once. When one process leaves with
    an error, so do the others. Raises :class:`DeviceError` where
    they cannot be connected, or one of them is gone.
    """
    if not launched():
        yield ALONE
        return
    try:
        store, rank, world = next(rendezvous("env://"))
        ours = PrefixStore("cytovae", store)
        if rank == 0:
            ours.set(_HERE, "")
        while not ours.check([_HERE]):  # not in a collective, which no signal could interrupt
            time.sleep(POLL_SECONDS)
        backend = "nccl" if device.startswith("cuda") else "gloo"
        if backend == "nccl":
            torch.cuda.set_device(device)
        distributed.init_process_group(backend, store=store, rank=rank, world_size=world)
    except (RuntimeError, ValueError) as error:
        raise DeviceError(f"the processes that torchrun started cannot be connected: {error}") from error
    ranks = Ranks(rank, world, ours)
    for number in (getattr(signal, name) for name in ENDING_SIGNALS if hasattr(signal, name)):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
            ranks.before[number] = signal.signal(number, ranks._signalled)
    over = threading.Event()
    watcher = threading.Thread(target=ranks._watch, args=(over,), daemon=True)
    if ranks.first:
        watcher.start()
    try:
        yield ranks
    except BaseException as error:
        with _unanswered():
            ranks._store.set(_STOP, str(ranks.asked or int(signal.SIGTERM)))
        if isinstance(error, RuntimeError) and _peer_is_gone(error):
            raise DeviceError("another process of this run ended during training; see what it said") from error
        raise
    finally:
        over.set()
        if watcher.is_alive():
            watcher.join(5 * POLL_SECONDS)
        for number, handler in ranks.before.items():
            signal.signal(number, handler)
        with _unanswered():
            distributed.destroy_process_group()


@contextmanager
def _unanswered() -> Iterator[None]:
    """On the way out nobody may be left to talk to."""
    try:
        yield
    except RuntimeError:
        return


def _peer_is_gone(error: RuntimeError) -> bool:
    return isinstance(error, distributed.DistError) or "peer" in str(error) or "onnection" in str(error)


def _device_of_collectives() -> torch.device:
    """Where a small tensor must lie to be exchanged."""
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")

"""The state of training for several processes: the first has it from its keeper, the others have it from the first."""

from dataclasses import astuple

from cytovae.distributed import Ranks
from cytovae.training import Keeper, LoopState, ProgressRecord


class Relay:
    """What keeps the loop of one of ``ranks``; a :class:`cytovae.training.Keeper` in each of them.

    ``keeper`` is that of the first process, None where nothing is kept. After a step all processes have the same
    network, moments of the optimizer, votes and generators (each draws for the whole batch), so the state of the first
    is that of all.
    """

    def __init__(self, ranks: Ranks, keeper: Keeper | None = None) -> None:
        self._ranks = ranks
        self._keeper = keeper

    def restore(self, loop: LoopState) -> tuple[ProgressRecord, ...]:
        """Put ``loop`` where that of the first process was kept; the records up to there. To be called by all."""
        if self._ranks.first:
            past = self._keeper.restore(loop) if self._keeper is not None else ()
            arrays = loop.arrays() if past and self._ranks.world > 1 else {}
            self._ranks.send_state(arrays, {"records": [astuple(record) for record in past]})
            return past
        arrays, said = self._ranks.receive_state()
        if said["records"]:
            loop.load(arrays)
        return tuple(ProgressRecord(*record) for record in said["records"])

    def note(self, loop: LoopState, record: ProgressRecord, *, last: bool) -> None:
        """Take the state after the step of ``record``, in the first process."""
        if self._keeper is not None:
            self._keeper.note(loop, record, last=last)

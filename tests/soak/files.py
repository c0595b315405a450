"""FCS files with one byte changed, and files that claim absurd sizes: an error of our family, or the true values."""

import os
import random
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rows import Effort, Row, seconds

from cytovae.errors import FcsError
from cytovae.fcs.file import open_fcs

sys.path.insert(0, str(Path(__file__).parents[1] / "fcs"))
import numpy as np
import test_corpus as recordings
import test_malformed as malformed

MOST_SECONDS = 0.05  # for one error
MOST_BYTES = 200_000_000  # beside twice the size of the file
# Of the processor, so that other work on the machine is not counted.
clock = time.process_time


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def mutations(folder: Path, effort: Effort) -> list[Row]:
    """One byte of HEADER or TEXT changed at a time, in each of six layouts."""
    path = folder / "small.fcs"
    each = effort.count(20_000, 200)
    refused = true_values = others = 0
    failures: list[str] = []
    times: list[float] = []
    before = _peak()
    for layout, recipe in malformed.LAYOUTS.items():
        chance = random.Random(f"{layout} {effort.seed}")
        for tail in (b"", b"00000000"):
            sound = replace(recipe, tail=tail).build()
            truth = malformed.strict_values(sound)
            n_bytes = len(sound) - len(tail) - len(recipe.data())
            for _ in range(each // 2):
                at = chance.randrange(n_bytes)
                byte = (
                    chance.choice(b"0123456789 /|$,.-+IFDALPNBRSE") if chance.random() < 0.6 else chance.randrange(256)
                )
                raw = sound[:at] + bytes([byte]) + sound[at + 1 :]
                path.write_bytes(raw)
                began = clock()
                try:
                    values = open_fcs(path).read()
                except FcsError as error:
                    times.append(clock() - began)
                    refused += 1
                    if error.file != str(path) or not error.field:
                        failures.append(f"{layout}: byte {at} → {byte}: {error} names no file or field")
                    continue
                except Exception as error:  # noqa: BLE001 (what is looked for)
                    failures.append(f"{layout}: byte {at} → {byte}: {error!r}")
                    continue
                if malformed._same(values, truth):
                    true_values += 1
                    continue
                try:
                    sound_too = malformed._same(values, malformed.strict_values(raw))
                except malformed.NotSound:
                    sound_too = False
                others += sound_too
                if not sound_too:
                    failures.append(f"{layout}: byte {at} → {byte}: silently other values")
    grown = _peak() - before
    if grown > MOST_BYTES:
        failures.append(f"memory grew by {grown / 1e6:.0f} MB")
    slow = sum(spent > MOST_SECONDS for spent in times)
    if slow > len(times) // 10_000:  # a collection of garbage may fall into one
        failures.append(f"{slow} errors took longer than {1000 * MOST_SECONDS:.0f} ms")
    happened = (
        f"{refused:,} refused ({seconds(times)}, {slow} over 50 ms), {true_values:,} read as before, "
        f"{others:,} are sound files of other values; memory grew by {grown / 1e6:.0f} MB"
    )
    return [Row("FCS: one byte of HEADER or TEXT changed, six layouts", 6 * each, happened, tuple(failures))]


def cuts(folder: Path, _effort: Effort) -> list[Row]:
    """Six layouts cut at every byte."""
    path = folder / "small.fcs"
    failures, times = [], []
    for layout, recipe in malformed.LAYOUTS.items():
        raw = recipe.build()
        for length in range(len(raw)):
            path.write_bytes(raw[:length])
            began = clock()
            try:
                open_fcs(path)
                failures.append(f"{layout} cut at {length} was read")
            except FcsError:
                times.append(clock() - began)
    return [Row("FCS: cut at every byte, six layouts", len(times), f"all refused, {seconds(times)}", tuple(failures))]


def hostile(folder: Path, _effort: Effort) -> list[Row]:
    """Files that are damaged by hand or claim absurd sizes, each with its field."""
    path = folder / "small.fcs"
    failures, times = [], []
    before = _peak()
    for case, (raw, field) in malformed.REFUSED.items():
        path.write_bytes(raw)
        began = clock()
        try:
            open_fcs(path)
            failures.append(f"{case}: was read")
        except FcsError as error:
            times.append(clock() - began)
            if error.field != field:
                failures.append(f"{case}: names {error.field} for {field}")
            if times[-1] > MOST_SECONDS * max(1, len(raw) / 1e6):
                failures.append(f"{case}: {times[-1]:.2f} s")
    grown = _peak() - before
    if grown > MOST_BYTES + 2 * max(len(raw) for raw, _ in malformed.REFUSED.values()):
        failures.append(f"memory grew by {grown / 1e6:.0f} MB")
    happened = f"all refused by field, {seconds(times)}; memory grew by {grown / 1e6:.0f} MB"
    return [Row("FCS: defects made by hand, absurd sizes among them", len(times), happened, tuple(failures))]


def corpus(_folder: Path, _effort: Effort) -> list[Row]:
    """Files of many instruments: each read or refused by name, and the values are FlowIO's where that reads it."""
    tried = "FCS: recordings of many instruments"
    if not recordings.INDEX:
        return [Row(tried, 0, "not tried: they are not here")]
    failures, times = [], []
    same = by_hand = 0
    idle = _memory(lambda: None)
    most = 0.0
    for name in sorted(recordings.INDEX):
        path = recordings.CORPUS / name
        used = _memory(lambda path=path: open_fcs(path).read()) - idle
        most = max(most, used)
        if used > 2 * path.stat().st_size + MOST_BYTES:
            failures.append(f"{name}: {used / 1e6:.0f} MB for a file of {path.stat().st_size / 1e6:.1f} MB")
        began = clock()
        try:
            values = open_fcs(path).read(apply_log=False)
        except FcsError as error:
            times.append(clock() - began)
            if name not in recordings.UNREADABLE or error.file != str(path) or not error.field:
                failures.append(f"{name}: {error}")
            if times[-1] > MOST_SECONDS:
                failures.append(f"{name}: refused after {times[-1]:.2f} s")
            continue
        except Exception as error:  # noqa: BLE001 (what is looked for)
            failures.append(f"{name}: {error!r}")
            continue
        if name in recordings.BY_HAND:
            by_hand += 1  # the tests decode them
            continue
        truth = recordings._flowio(recordings.CORPUS / recordings.SAME_AS.get(name, name))
        if np.array_equal(values, truth.as_array(preprocess=False), equal_nan=True):
            same += 1
        else:
            failures.append(f"{name}: other values than FlowIO's")
    happened = (
        f"{same} with the values of FlowIO, {by_hand} that FlowIO cannot read, {len(times)} refused by name "
        f"({seconds(times)}); memory grew by at most {most / 1e6:.0f} MB"
    )
    return [Row(tried, len(recordings.INDEX), happened, tuple(failures))]


def _memory(work: Callable[[], object]) -> int:
    """Bytes at the peak of a process that does ``work``; errors are no matter here."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    _, _, usage = os.wait4(child, 0)
    return usage.ru_maxrss * 1024

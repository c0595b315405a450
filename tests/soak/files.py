"""Damaged FCS files, and files with absurd sizes: the reader raises one of our errors or returns the true values."""

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

sys.path[:0] = [str(Path(__file__).parents[1] / "fcs"), str(Path(__file__).parents[1])]
import numpy as np
import test_corpus as recordings
import test_malformed as malformed

MOST_SECONDS = 0.05  # for one error
MOST_BYTES = 200_000_000  # in addition to twice the size of the file
# Processor time, so that other work on the machine does not count.
clock = time.process_time


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def mutations(folder: Path, effort: Effort) -> list[Row]:
    """Change one byte of HEADER or TEXT at a time, in six layouts."""
    path = folder / "small.fcs"
    each = effort.count(20_000, 200)
    refused = true_values = others = 0
    failures: list[str] = []
    times: list[float] = []
    before = _peak()
    for layout, recipe in malformed.LAYOUTS.items():
        rng = random.Random(f"{layout} {effort.seed}")
        for tail in (b"", b"00000000"):
            sound = replace(recipe, tail=tail).build()
            truth = malformed.strict_values(sound)
            n_bytes = len(sound) - len(tail) - len(recipe.data())
            for _ in range(each // 2):
                at = rng.randrange(n_bytes)
                byte = rng.choice(b"0123456789 /|$,.-+IFDALPNBRSE") if rng.random() < 0.6 else rng.randrange(256)
                raw = sound[:at] + bytes([byte]) + sound[at + 1 :]
                path.write_bytes(raw)
                started = clock()
                try:
                    values = open_fcs(path).read()
                except FcsError as error:
                    times.append(clock() - started)
                    refused += 1
                    if error.file != str(path) or not error.field:
                        failures.append(f"{layout}: byte {at} → {byte}: {error} names no file or field")
                    continue
                except Exception as error:  # noqa: BLE001 (any other error is a failure)
                    failures.append(f"{layout}: byte {at} → {byte}: {error!r}")
                    continue
                if malformed.same_values(values, truth):
                    true_values += 1
                    continue
                try:
                    sound_too = malformed.same_values(values, malformed.strict_values(raw))
                except malformed.NotSound:
                    sound_too = False
                others += sound_too
                if not sound_too:
                    failures.append(f"{layout}: byte {at} → {byte}: silently other values")
    grown = _peak() - before
    if grown > MOST_BYTES:
        failures.append(f"memory grew by {grown / 1e6:.0f} MB")
    slow = sum(spent > MOST_SECONDS for spent in times)
    if slow > len(times) // 10_000:  # garbage collection may slow down one of them
        failures.append(f"{slow} errors took longer than {1000 * MOST_SECONDS:.0f} ms")
    happened = (
        f"{refused:,} refused ({seconds(times)}, {slow} over 50 ms), {true_values:,} read as before, "
        f"{others:,} are sound files of other values; memory grew by {grown / 1e6:.0f} MB"
    )
    return [Row("FCS: one byte of HEADER or TEXT changed, six layouts", 6 * each, happened, tuple(failures))]


def cuts(folder: Path, _effort: Effort) -> list[Row]:
    """Truncate files of six layouts at every byte."""
    path = folder / "small.fcs"
    failures, times = [], []
    for layout, recipe in malformed.LAYOUTS.items():
        raw = recipe.build()
        for length in range(len(raw)):
            path.write_bytes(raw[:length])
            started = clock()
            try:
                open_fcs(path)
                failures.append(f"{layout} cut at {length} was read")
            except FcsError:
                times.append(clock() - started)
    return [Row("FCS: cut at every byte, six layouts", len(times), f"all refused, {seconds(times)}", tuple(failures))]


def hostile(folder: Path, _effort: Effort) -> list[Row]:
    """Read files damaged by hand or with absurd sizes; the error names the field."""
    path = folder / "small.fcs"
    failures, times = [], []
    before = _peak()
    for case, (raw, field) in malformed.REFUSED.items():
        path.write_bytes(raw)
        started = clock()
        try:
            open_fcs(path)
            failures.append(f"{case}: was read")
        except FcsError as error:
            times.append(clock() - started)
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
    """Read files of many instruments: values are those of FlowIO, or the file is known to be unreadable."""
    tried = "FCS: recordings of many instruments"
    if not recordings.INDEX:
        return [Row(tried, 0, "not tried: the files are missing")]
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
        started = clock()
        try:
            values = open_fcs(path).read(apply_log=False)
        except FcsError as error:
            times.append(clock() - started)
            if name not in recordings.UNREADABLE or error.file != str(path) or not error.field:
                failures.append(f"{name}: {error}")
            if times[-1] > MOST_SECONDS:
                failures.append(f"{name}: refused after {times[-1]:.2f} s")
            continue
        except Exception as error:  # noqa: BLE001 (any other error is a failure)
            failures.append(f"{name}: {error!r}")
            continue
        if name in recordings.BY_HAND:
            by_hand += 1  # the tests check their values
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
    """Peak memory in bytes of a process that runs ``work``, whether it fails or not."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    _, _, usage = os.wait4(child, 0)
    return usage.ru_maxrss * 1024

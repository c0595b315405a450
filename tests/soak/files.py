"""FCS files with one byte changed, and files that claim absurd sizes: an error of our family, or the true values."""

import random
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

from rows import Effort, Row, seconds

from cytovae.errors import FcsError
from cytovae.fcs import open_fcs

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
import test_fcs_corpus as corpus_tests
import test_fcs_malformed as malformed

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
    """The shared corpus of real files: refused by field, or FlowIO's values where FlowIO reads the file."""
    names = sorted(corpus_tests.INDEX)
    tried = "FCS: real files of many instruments"
    if not names:
        return [Row(tried, 0, f"not tried: there is no corpus at {corpus_tests.CORPUS}")]
    failures, times = [], []
    same = others = 0
    largest, before = 0, _peak()
    for name in names:
        path = corpus_tests.CORPUS / name
        largest = max(largest, path.stat().st_size)
        began = clock()
        try:
            read = open_fcs(path).read(apply_log=False)
        except FcsError as error:
            times.append(clock() - began)
            if name not in corpus_tests.UNREADABLE or error.field != corpus_tests.UNREADABLE[name]:
                failures.append(f"{name}: {error}")
            if times[-1] > MOST_SECONDS:
                failures.append(f"{name}: refused after {times[-1]:.2f} s")
            continue
        grown = _peak() - before  # FlowIO's own is no part of it: its values come after all have been read
        if grown > 2 * largest + MOST_BYTES:
            failures.append(f"{name}: memory grew by {grown / 1e6:.0f} MB")
        others += name in corpus_tests.BY_HAND or name in corpus_tests.SAME_AS
        del read
    grown = _peak() - before
    by_others = {*corpus_tests.UNREADABLE, *corpus_tests.BY_HAND, *corpus_tests.SAME_AS}
    for name in sorted(set(names) - by_others):
        read = open_fcs(corpus_tests.CORPUS / name).read(apply_log=False)
        if np.array_equal(read, corpus_tests._flowio(corpus_tests.CORPUS / name).as_array(preprocess=False), True):
            same += 1
        else:
            failures.append(f"{name}: other values than FlowIO's")
    happened = (
        f"{same} have FlowIO's values, {others} that FlowIO cannot read were read (checked by hand in the tests), "
        f"{len(times)} refused by field ({seconds(times)}); memory grew by {grown / 1e6:.0f} MB"
    )
    return [Row(tried, len(names), happened, tuple(failures))]

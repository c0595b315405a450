"""Print the markers that are chosen in files of many instruments and programs, and the reason for every other channel.

    python docs/measurements/markers.py --data ../shared/data
    python docs/measurements/markers.py FILE... --channels

The first form takes the folders `fcs_corpus` and `field_cases`. Labels are not read.
"""

import argparse
from collections import defaultdict
from pathlib import Path

from cytovae.errors import InputError
from cytovae.events.channel_names import full_name
from cytovae.events.channel_use import channel_uses, is_not_unmixed
from cytovae.events.event_file import open_events

FOLDERS = ("fcs_corpus", "field_cases")
NO_EVENTS = {".md", ".py", ".mtx"}


def main() -> None:
    """Print one section for each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument(
        "--channels", action="store_true", help="a line for each channel instead of one for each reason"
    )
    arguments = parser.parse_args()
    root = arguments.data
    paths = [*arguments.files]
    if root is not None:
        found = (path for folder in FOLDERS for path in sorted((root / folder).rglob("*")))
        paths += [
            path for path in found if path.is_file() and path.suffix not in NO_EVENTS and path.name != "INDEX.csv"
        ]
    for path in paths:
        show(path, root, by_channel=arguments.channels)


def show(path: Path, root: Path | None, *, by_channel: bool) -> None:
    """Print the markers of a file by class, and the other channels by reason."""
    print(f"\n### {path.relative_to(root) if root is not None and path.is_relative_to(root) else path}")
    try:
        file = open_events(path)
    except InputError as error:
        print(f"refused: {error.field}: {error.found}")
        return
    uses = channel_uses(file.channels)
    if is_not_unmixed(uses):
        print("NOT UNMIXED")
    if by_channel:
        for use in uses:
            print(f"{use.channel.index + 1}\t{full_name(use.channel)}\t{use.marker}\t{use.marker_class}\t{use.reason}")
        return
    markers, others = [use.marker for use in uses if use.used], defaultdict(list)
    for use in uses:
        if not use.used:
            others[use.reason.partition(";")[0]].append(full_name(use.channel))
    print(f"{len(markers)} markers: {', '.join(markers)}")
    for reason, names in others.items():
        print(f"  {reason}: {', '.join(names)}")


if __name__ == "__main__":
    main()

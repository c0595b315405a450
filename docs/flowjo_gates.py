"""FlowJo workspace → NAME.gates.csv for each sample, one row per event. Runs with FlowKit, see docs/gates.md."""

import argparse
import csv
import sys
from pathlib import Path


def deepest(memberships: dict[tuple[str, ...], list[bool]], n_events: int) -> list[str]:
    """The name of the deepest gate of each event, empty where it is in none.

    ``memberships`` says for the path of each gate, from the root, which events are in it. Raises ValueError where an
    event is in two gates of which neither is within the other.
    """
    found: list[tuple[str, ...]] = [()] * n_events
    for path in sorted(memberships, key=len):
        for event, inside in enumerate(memberships[path]):
            if not inside:
                continue
            if path[: len(found[event])] != found[event]:
                raise ValueError(
                    f"event {event} is in {'/'.join(found[event])} and in {'/'.join(path)}; name gates with --only"
                )
            found[event] = path
    return [path[-1] if path else "" for path in found]


def main() -> int:
    """Convert all samples of a workspace."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("fcs", type=Path, help="folder of the FCS files")
    parser.add_argument("output", type=Path, help="folder for NAME.gates.csv")
    parser.add_argument("--only", default="", help="names of the gates to take, separated by commas")
    options = parser.parse_args()
    only = {name.strip() for name in options.only.split(",") if name.strip()}

    import flowkit

    workspace = flowkit.Workspace(str(options.workspace), fcs_samples=str(options.fcs))
    options.output.mkdir(parents=True, exist_ok=True)
    for sample in workspace.get_sample_ids():
        workspace.analyze_samples(sample_id=sample)
        memberships = {}
        for name, above in workspace.get_gate_ids(sample):
            if not only or name in only:
                path = (*(part for part in above if part != "root" and (not only or part in only)), name)
                memberships[path] = workspace.get_gate_membership(sample, name, gate_path=above).tolist()
        n_events = workspace.get_sample(sample).event_count
        target = options.output / f"{Path(sample).stem}.gates.csv"
        try:
            labels = deepest(memberships, n_events)
        except ValueError as error:
            sys.exit(f"{sample}: {error}")
        with target.open("x", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([["population"], *([label] for label in labels)])
    return 0


if __name__ == "__main__":
    sys.exit(main())

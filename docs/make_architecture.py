"""Draw docs/pictures/architecture.svg: the wings of the package and the way of the data (``make docs``)."""

import sys
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "cytovae"
PICTURE = Path(__file__).parent / "pictures" / "architecture.svg"

COLUMN, ROW, BOX_WIDTH, BOX_HEIGHT, LEFT, TOP = 176, 108, 146, 56, 20, 56
WIDTH, HEIGHT = LEFT * 2 + 5 * COLUMN + BOX_WIDTH, TOP + 3 * ROW + BOX_HEIGHT + 20

FILES, LEARNING, STUDY, RESULTS = (
    ("#eef3f9", "#2b55a0"),
    ("#fdf3e1", "#c77d00"),
    ("#e6f4ee", "#009e73"),
    ("#f3f4f6", "#6a7180"),
)

# Name, caption, row, column, columns, colours.
BOXES = (
    ("fcs", "FCS bytes ↔ values", 0, 0, 1, FILES),
    ("events", "markers, transformed", 0, 1, 1, FILES),
    ("annotations", "gates, labels, tables", 0, 2, 1, FILES),
    ("quality", "which events to trust", 0, 3, 1, FILES),
    ("populations", "who is similar", 1, 0, 1, LEARNING),
    ("naming", "what it is called", 1, 1, 1, LEARNING),
    ("network", "model, losses, loop", 1, 2, 1, LEARNING),
    ("inference", "cells → clusters", 1, 3, 1, LEARNING),
    ("model_folder", "model ↔ disk", 1, 4, 1, FILES),
    ("outputs", "tables, FCS, h5ad", 1, 5, 1, FILES),
    ("study", "train · assign · inspect: the stages in order", 2, 1, 4, STUDY),
    ("comparison", "what differs", 3, 0, 1, RESULTS),
    ("report", "one HTML page", 3, 1, 1, RESULTS),
    ("benchmark", "methods × data sets", 3, 2, 1, RESULTS),
    ("experiments", "those of the paper", 3, 3, 1, RESULTS),
    ("workflow", "Snakemake", 3, 4, 1, RESULTS),
    ("api · cli", "Python, command line", 3, 5, 1, RESULTS),
)


def _left(column: int) -> int:
    return LEFT + column * COLUMN


def _middle(column: int) -> int:
    return _left(column) + BOX_WIDTH // 2


def _top(row: int) -> int:
    return TOP + row * ROW


def _box(name: str, caption: str, row: int, column: int, columns: int, colours: tuple[str, str]) -> str:
    x, y, width = _left(column), _top(row), (columns - 1) * COLUMN + BOX_WIDTH
    fill, stroke = colours
    return (
        f'  <rect x="{x}" y="{y}" width="{width}" height="{BOX_HEIGHT}" rx="6" fill="{fill}" stroke="{stroke}"/>\n'
        f'  <text x="{x + width / 2:g}" y="{y + 26}" font-size="13.5" font-weight="bold" fill="#1f2430" '
        f'text-anchor="middle">{name}</text>\n'
        f'  <text x="{x + width / 2:g}" y="{y + 42}" font-size="11.5" fill="#454c5c" '
        f'text-anchor="middle">{caption}</text>'
    )


def _arrow(*points: tuple[float, float]) -> str:
    path = " L".join(f"{x:g} {y:g}" for x, y in points)
    return f'  <path d="M{path}" fill="none" stroke="#6a7180" stroke-width="1.5" marker-end="url(#arrow)"/>'


def _arrows() -> list[str]:
    """Along the first two rows, from events to populations, into the study from all sides, and out of it."""
    half = BOX_HEIGHT / 2
    along = [
        _arrow((_left(column) + BOX_WIDTH + 3, _top(row) + half), (_left(column + 1) - 4, _top(row) + half))
        for row, columns in ((0, range(2)), (1, range(5)))
        for column in columns
    ]
    between = _top(1) - 26
    to_populations = _arrow(
        (_middle(1), _top(0) + BOX_HEIGHT + 2), (_middle(1), between), (_middle(0), between), (_middle(0), _top(1) - 3)
    )
    to_quality = _arrow(
        (_middle(1), _top(0) - 2), (_middle(1), _top(0) - 14), (_middle(3), _top(0) - 14), (_middle(3), _top(0) - 3)
    )
    left, right = _left(1), _left(4) + BOX_WIDTH
    sides = [
        _arrow((_middle(0), _top(1) + BOX_HEIGHT + 2), (_middle(0), _top(2) + half), (left - 4, _top(2) + half)),
        _arrow(
            (_middle(5), _top(1) + BOX_HEIGHT + 2), (_middle(5), _top(2) + half - 8), (right + 4, _top(2) + half - 8)
        ),
        _arrow(
            (_left(3) + BOX_WIDTH + 3, _top(0) + half),
            (WIDTH - 10, _top(0) + half),
            (WIDTH - 10, _top(2) + half + 8),
            (right + 4, _top(2) + half + 8),
        ),
    ]
    down = [_arrow((_middle(c), _top(1) + BOX_HEIGHT + 2), (_middle(c), _top(2) - 3)) for c in (1, 2, 3, 4)]
    out = [_arrow((_middle(c), _top(2) + BOX_HEIGHT + 2), (_middle(c), _top(3) - 3)) for c in (1, 2, 3, 4)]
    below = _top(3) - 26
    corners = [
        _arrow((x, _top(2) + BOX_HEIGHT + 2), (x, below), (_middle(c), below), (_middle(c), _top(3) - 3))
        for x, c in ((left + 20, 0), (right - 20, 5))
    ]
    return [*along, to_populations, to_quality, *sides, *down, *out, *corners]


def picture() -> str:
    """The drawing as SVG."""
    title = "The wings of cytovae and the way of the data"
    words = (
        (LEFT, "files in"),
        (_left(4), "arrows: the way of the data;"),
        (_left(4), "imports go back along them only"),
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            f'role="img" aria-label="{title}" font-family="DejaVu Sans, Verdana, sans-serif">',
            f"  <title>{title}</title>",
            '  <defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0L10 5L0 10z" fill="#6a7180"/></marker></defs>',
            f'  <rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            *(
                f'  <text x="{x}" y="{20 + 16 * (number == 2)}" font-size="11.5" fill="#6a7180">{text}</text>'
                for number, (x, text) in enumerate(words)
            ),
            *(_box(*box) for box in BOXES),
            *_arrows(),
            "</svg>",
            "",
        ]
    )


def main() -> None:
    """Write the drawing, or with ``--check`` fail if it is not up to date or lacks a wing."""
    wings = {folder.parent.name for folder in PACKAGE.glob("*/__init__.py")}
    drawn = {name for box in BOXES for name in box[0].split(" · ")}
    if missing := sorted(wings - drawn):
        sys.exit(f"not in BOXES of {Path(__file__).name}: {', '.join(missing)}")
    if "--check" not in sys.argv:
        PICTURE.write_text(picture(), encoding="utf-8")
    elif PICTURE.read_text(encoding="utf-8") != picture():
        sys.exit(f"{PICTURE.name} is not up to date: run `make docs`")


if __name__ == "__main__":
    main()

"""A marker table to start from: populations of a tissue, with the markers that a file has.

The populations are in ``starter_types.csv``, with the source of each row:

* Maecker 2012: Maecker HT, McCoy JP, Nussenblatt R. Standardizing immunophenotyping for the Human Immunology Project.
  Nat Rev Immunol 12:191.
* Ziegler-Heitbrock 2010: Ziegler-Heitbrock L, et al. Nomenclature of monocytes and dendritic cells in blood.
  Blood 116:e74.
* van Lochem 2004: van Lochem EG, et al. Immunophenotypic differentiation patterns of normal hematopoiesis in human bone
  marrow. Cytometry B 60:1.
* Majeti 2007: Majeti R, Park CY, Weissman IL. Identification of a hierarchy of multipotent hematopoietic progenitors in
  human cord blood. Cell Stem Cell 1:635.
* Manz 2002: Manz MG, et al. Prospective isolation of human clonogenic common myeloid progenitors. PNAS 99:11872.
* Heng 2008: Heng TSP, Painter MW. The Immunological Genome Project. Nat Immunol 9:1091.
* Allman 2008: Allman D, Pillai S. Peripheral B cell subsets. Curr Opin Immunol 20:149.
* Hardy 2001: Hardy RR, Hayakawa K. B cell development pathways. Annu Rev Immunol 19:595.
* Rose 2012: Rose S, Misharin A, Perlman H. A novel Ly6C/Ly6G-based strategy to analyze the mouse splenic myeloid
  compartment. Cytometry A 81:343.
* Challen 2009: Challen GA, et al. Mouse hematopoietic stem cell identification and analysis. Cytometry A 75:14.

It is a starting point to edit: remove what is not in the sample, and add what is.
"""

import csv
from collections.abc import Sequence
from importlib import resources
from typing import Literal

from cytovae.annotations.marker_table import JOINED, PARENT, POPULATION, SOURCE, column_of
from cytovae.delimited import csv_line

Species = Literal["human", "mouse"]
Tissue = Literal["blood", "marrow", "spleen"]

FEWEST_MARKERS = 2  # of a population, for it to be listed


def starter_table(markers: Sequence[str], species: Species, tissue: Tissue) -> str:
    """The text of a marker table for a panel.

    A population is listed if the panel has the markers that define it, and at least two. Populations that the panel
    does not tell apart are one row.

    Parameters
    ----------
    markers
        Names of the markers, as the table will spell them.
    species, tissue
        Which populations to list.

    Returns
    -------
    str
        CSV with the columns ``population``, ``parent``, the markers that some population asks for, and ``source``.
    """
    rows: dict[tuple[str, ...], list[dict[str, str]]] = {}
    text = resources.files("cytovae.annotations").joinpath("starter_types.csv").read_text(encoding="utf-8")
    for entry in csv.DictReader(text.splitlines()):
        if entry["species"] != species or tissue not in entry["tissues"].split("|"):
            continue
        levels = [entry["parent"], *[""] * len(markers)]
        for word in entry["markers"].split():
            if (j := column_of(word[:-1], markers)) is not None:
                levels[j + 1] = word[-1]
        defined = all(column_of(marker, markers) is not None for marker in entry["needs"].split())
        if defined and sum(map(bool, levels[1:])) >= FEWEST_MARKERS:
            rows.setdefault(tuple(levels), []).append(entry)
    used = [j for j in range(len(markers)) if any(levels[j + 1] for levels in rows)]
    names = {
        entry["population"]: JOINED.join(e["population"] for e in same) for same in rows.values() for entry in same
    }
    lines = [csv_line([POPULATION, PARENT, *(markers[j] for j in used), SOURCE])]
    for row, same in rows.items():
        sources = "; ".join(dict.fromkeys(entry["source"] for entry in same))
        cells = [names[same[0]["population"]], names.get(row[0], ""), *(row[j + 1] for j in used), sources]
        lines.append(csv_line(cells))
    return "".join(lines)

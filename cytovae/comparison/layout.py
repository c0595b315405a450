"""The folder of a comparison: names of its files, and the false discovery rate that its summary counts by."""

SCHEMA_VERSION = 1

SUMMARY, FIGURES = "summary.json", "figures"
ABUNDANCE, LEVELS = "differential_abundance.csv", "differential_levels.csv"
ENTRIES = (SUMMARY, FIGURES, "abundance_long.csv", "abundance_wide.csv", ABUNDANCE, "levels.csv", LEVELS)

PICTURES = {
    "samples_mds": "Samples by the similarity of their abundances",
    "abundance_dots": "Share of each population in each sample, by condition",
    "abundance_effects": "Effects on the abundance of populations",
    "abundance_volcano": "Effect and p value of each population",
    "levels_effects": "Effects on the levels of state markers",
    "levels_volcano": "Effect and p value of each state marker in each population",
}
"""The stems of the pictures and what they show, in the order of a report."""

FDR = 0.05
"""The false discovery rate up to which a difference is listed."""

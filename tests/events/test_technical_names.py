"""Names of channels that are no markers, as instruments, programs and laboratories write them."""

import pytest

from cytovae.events.technical_names import numbered_components, technical_use, use_of_kind

USES = {
    "scatter": [
        *("FSC-A", "fsc-h", "SSC-W", "SSC1-Height", "405-SSC", "FSCArea", "FS INT LIN", "SS TOF LIN", "FS PEAK LIN"),
        *("Violet SSC-A", "VSSC-A", "VSSC1-A", "BSSC-A", "BSC-A", "SSC-B-A", "SSC_1-A", "FSC PMT-A", "SSC (Violet)-A"),
        *("FSC-HLin", "SSC-HLog", "FSC51-A", "FS00-A", "SS02-H", "FSC 488/10-A", "LightLoss (Imaging)-A", "SALS"),
        *("Side Scatter-A", "FS Lin", "SS", "Comp-FSC-A", "<SSC-A>"),
    ],
    "time": ["Time", "TIME2", "HDR-T", "Time (204.80 sec.)", "Time LSW", "Computed Time", "<Time>", "Clock"],
    "event length": ["Event_length", "Cell_length"],
    "written by cytovae": ["cytovae_cluster", "cytovae_probability", "cytovae_umap_1", "cytovae_novelty_2"],
    "map of cells": [
        *("tSNE1", "tSNE_2", "opt-SNE_1", "viSNE 1", "bh-SNE_1", "UMAP_1", "UMAP_X", "umap2", "PHATE1", "PaCMAP 1"),
        *("TriMap_1", "DiffusionMap_1", "EmbedSOM1", "wanderlust", "pseudotime", "SNEx"),
    ],
    "cluster": [
        *("FlowSOM_cluster", "FlowSOM_metacluster", "PhenoGraph_cluster", "clusterID", "cluster_id", "metacluster"),
        *("meta20", "X-shift", "SPADE", "CITRUS_cluster", "leiden", "Louvain", "kmeans", "cell_type", "density"),
        *("FlowSOM.IsoUp", "Rphenograph", "ClusterX_id"),
    ],
    "index or identifier": [
        *("OmiqFileIndex", "SampleID", "sample_id", "file_number", "Event #", "EventNum", "Event Count", "cell_id"),
        *("Original_ID", "File_scattered", "FileNo", "id", "Unnamed: 0", "row_id", "Object Number", "EventNumberDP"),
    ],
    "viability": [
        *("Viability", "Viability_NIR", "eFluor780 Viability", "viability;7-AAD;695/40@488/A", "Live/Dead", "l/d"),
        *("LIVE/DEAD™ Fixable Near-IR", "LiveDead", "Live_Dead_Aqua", "LD Aqua", "AquaLD", "L/D Blue", "Zombie NIR"),
        *("Zombie UV", "Zombie Aqua-A", "FVD eFluor 506", "Fixable Viability Dye eFluor 780", "FVS780", "BD FVS440UV"),
        *("Ghost Dye Violet 510", "Ghost Red 780", "ViaKrome 808", "ViaDye Red", "Viobility 405/520", "Dead cells"),
        *("Dead Dye", "Dead", "Live", "Aqua", "7-AAD", "7AAD", "PI", "PI/PE-Cy5-A", "Propidium Iodide", "DAPI-A"),
        *("SYTOX Green", "SYTOX AADvanced", "DRAQ7", "TO-PRO-3", "Calcein AM", "Cisplatin", "cis-Pt", "Helix NP NIR"),
        *("Comp-Zombie NIR-A", "FJComp-Live Dead-A", "NearIR", "Vivid"),
    ],
    "DNA": ["DNA1", "DNA-2", "Cell-ID Intercalator-Ir", "Hoechst 33342", "DRAQ5", "Iridium", "DNA1(Ir)", "SYTO 16"],
    "beads": ["Beads", "beadDist", "EQ4 Beads", "Norm_bead", "EQ Four Element Calibration Beads", "Bead"],
    "barcode": ["BC1", "BC103", "Barcode", "MCB102", "bc_id", "bc_separation_dist", "mahalanobis_dist", "mhl_dist"],
    "ion cloud shape": ["Center", "Offset", "Residual", "Amplitude"],
    "pulse parameter": ["Pulse Width", "Trigger Pulse Width", "Width", "TOF"],
    "autofluorescence": ["AF-A", "AF_A", "FJComp-AF-A", "AF1-A", "Autofluorescence", "AutoFluo1", "AF"],
    "quality control": ["flowAI QC", "GoodVsBad", "remove_from_FR", "outlier", "DOUBLET"],
    "sorting": [
        *("Sorted", "Sort Result Bits", "ROI Bits 1-16", "Drop Phase", "CLASSIFIERBITS", "Index X", "Tray X"),
        *("Saturated", "TrayY"),
    ],
    "plate or position": ["Plate Row", "well", "X", "Y", "X_centroid", "Pos_X", "Position Y", "Row", "Tile"],
    "image feature": [
        *("Size (LightLoss (Imaging))", "Max Intensity (FITC)", "Radial Moment (X)", "Correlation (A/B)", "Area_M01"),
        *("Delta CoM (A/B)", "Eccentricity (X)", "Aspect Ratio_M01", "Gradient RMS_M01_Ch01", "Long Axis Moment (X)"),
    ],
    "sample annotation": ["Group", "batch", "donor", "condition", "timepoint", "patient", "sample", "Treatment"],
    "label": ["label", "gate", "manual_labels", "Class 1"],
    "empty": ["empty", "190BCKG", "blank", "unused", "NA", "Background"],
    "background": ["conta", "Env"],
    "probability": ["probability", "novelty"],
}  # fmt: skip


@pytest.mark.parametrize(("use", "name"), [(use, name) for use, names in USES.items() for name in names])
def test_technical_names_are_recognised(use: str, name: str) -> None:
    assert technical_use(name) == use


MARKERS = [
    *("CD45", "HLA-DR", "NK1/1", "H-2", "TIM-3", "FoxP3", "FSCN1", "BCL2", "BCL6", "PI16", "PI3K", "DEC205", "CD15s"),
    *("Siglec-8", "EQTN", "IDO1", "DNAM-1", "Livin", "PD-1", "SLAMF6", "Ki67", "ch0", "FL1-H", "CD62L", "Clusterin"),
    *("SORT1", "AF488-A", "AF647-A", "CD1a", "TIMD4", "TIMP1", "SNED1", "LDHA", "LDLR", "IDH1", "SS18", "Nestin"),
    *("RANK", "PC5-A", "PC7", "SSEA4", "CADM1", "STING", "KLRG1", "DLL4", "AFP", "Lin", "Dump", "XCR1", "Center-1b"),
    *("GFP", "mCherry", "pDC", "B220", "Annexin V", "Delta-like 4", "CTLA-4", "PE-A", "APC-Cy7-A", "V1-A", "Pr141Di"),
]


@pytest.mark.parametrize("name", MARKERS)
def test_names_that_resemble_technical_ones_are_not(name: str) -> None:
    assert technical_use(name) == ""


def test_numbered_components_come_in_series() -> None:
    assert numbered_components(["CD3", "PC1", "PC2", "PC5", "p_1", "p_2"]) == {"PC1", "PC2", "PC5", "p_1", "p_2"}
    assert not numbered_components(["PC5", "PC7", "p38", "p1", "p2", "IL-1", "CD1", "CD2"])


@pytest.mark.parametrize(
    ("kind", "feature", "expected"),
    [
        ("Unmixed_Fluorescence", "Area", ""),
        ("Raw_Fluorescence", "Height", ""),
        ("Mass", "", ""),
        ("Ion_Count", "", ""),
        ("", "", ""),
        ("Side_Scatter", "Area", "scatter"),
        ("Time", "", "time"),
        ("Index", "", "index or identifier"),
        ("Classification", "", "label"),
        ("Shape", "", "image feature"),
        ("", "MaskSize", "image feature"),
        ("", "MaxIntensity", "image feature"),
        ("Unmixed_Fluorescence", "CenterOfMass", "image feature"),
    ],
)
def test_keywords_of_fcs_3_2_say_what_is_no_marker(kind: str, feature: str, expected: str) -> None:
    assert use_of_kind(kind, feature) == expected

"""Type and state markers, as published panels divide them."""

import pytest

from cytovae.events.marker_class import marker_class

STATE = [
    *("pSTAT5", "pStat1", "pp38", "pP38", "p-ERK1/2", "pERK1_2", "pZAP70_Syk", "pS6", "pNFkB", "pPLCgamma2", "pCrkL"),
    *("pBtk_Itk", "pSLP-76", "pMAPKAPK2", "pSrcFK", "pCREB", "pAkt (S473)", "AKT-pS473", "phospho-STAT3", "PSTAT5"),
    *("PAKT", "pRb", "pTau", "pH3", "pHistone H3", "γH2AX", "IkBalpha", "IκBα", "tIkBa", "cPARP", "Cleaved PARP"),
    *("Cleaved caspase-3", "caspase-3", "cCasp3", "Ki67", "Ki-67", "Ki67 FITC", "Cyclin B1", "CyclinA", "IdU", "BrdU"),
    *("IFNg", "IFN-γ", "TNFa", "TNF", "IL-2", "IL2", "IL-4", "IL-17A", "IL-17A/F", "IL10", "IL-12p40", "GM-CSF"),
    *("MIP1B", "MIP-1β", "CCL4", "TGF-b", "IL2_TNFa"),
]
TYPE = [
    *("CD3", "CD25", "CD38", "CD69", "CD71", "HLA-DR", "PD-1", "PD-L1", "ICOS", "CTLA-4", "CD107a", "CD154", "CD40L"),
    *("FoxP3", "T-bet", "Tbet", "GATA3", "RORγt", "Eomes", "Granzyme B", "GranzymeB", "Perforin", "TdT", "MPO", "IgM"),
    *("IL-7Ra", "CD127_IL-7Ra", "IL-2R", "IL-3R", "IL2RA", "IL-6R", "IL-17RA", "TNFR2", "IFNGR1", "GM-CSFR", "pDC"),
    *("pMHC", "PSGL-1", "P2X7", "PU.1", "PAX5", "PLZF", "panHLA", "pTa", "CD4_CD20", "IL17_CD95", "GFP", "FITC-A"),
    *("Ly6C", "CX3CR1", "Siglec-8", "TCRgd", "Kappa", "NK1/1", "ch0", "Livin", "CXCR3", "CCR7", "EpCAM", "PTEN"),
]


@pytest.mark.parametrize("name", STATE)
def test_markers_of_signalling_cytokines_death_and_cycle_are_state_markers(name: str) -> None:
    assert marker_class(name) == "state"


@pytest.mark.parametrize("name", TYPE)
def test_surface_markers_lineage_factors_and_cytotoxic_granules_are_type_markers(name: str) -> None:
    assert marker_class(name) == "type"

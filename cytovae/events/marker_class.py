"""Whether a marker defines the type of a cell or its state.

Type markers are stable features of a population: surface markers, lineage transcription factors, cytotoxic granules.
State markers change with activation, the cell cycle or death, so clusters should not depend on them. The division, and
the names of its two sides, follow Nowicka et al. 2017 (F1000Research 6:748) and Weber et al. 2019 (diffcyt; Commun Biol
2:183); which proteins are state markers follows the intracellular panels of Bendall et al. 2011 (Science 332:687) and
Bodenmiller et al. 2012 (Nat Biotechnol 30:858) for signalling, Behbehani et al. 2012 (Cytometry A 81:552) for the cell
cycle and its markers IdU, Ki-67, cyclins and pRb.
"""

import re
from functools import lru_cache
from typing import Literal

from cytovae.events.antigen_names import parts_of
from cytovae.events.detector_names import plain_text, words_of

MarkerClass = Literal["type", "state"]

_PHOSPHO = re.compile(r"p(?:hospho)?[-_ ]?(?=[A-Z0-9(]|p\d|c-|mTOR|eIF|eEF|γ)(?![-_ ]?\d+$)|[Pp]hos(?:pho)?[-_ .]")
_PHOSPHO_SITE = re.compile(r"(?:^|[\s(_:-])p(?:S|T|Y|Ser|Thr|Tyr)-?\d{2,4}|\bp(?:Ser|Thr|Tyr)\b")
_NOT_PHOSPHO = re.compile(r"p-?(?:DC|MHC|HLA|IgR|TCR|Ta|Ab|Selectin|Cadherin|Peptide)s?(?![A-Za-z])")
_KINASE_SUBSTRATES = (
    r"stat\d[ab]?|erk(?:1|12|1-2)?|akt\d?|s6(?:k|rp)?|p38\w*|mapk\w*|plcg?\d?|zap70\w*|syk|slp76|btk\w*|itk|lck|fyn"
    r"|src\w*"
    r"|shp[12]|nfkb\w*|p65|rela|creb|mk2|crkl|blnk|h2ax|h3|hh3|histoneh3|rb1?|4ebp1|mek\w*|jnk|cjun|mtor|pdk1|tbk1"
    r"|irf[37]"
    r"|smad\w*|cdc2|cdk\d|p53|fak|pi3k\w*|pkc\w*|gsk3\w*|egfr|ampk\w*|acc|ras|raf|jak\d|tyk2|atm|atr|chk[12]|ikk\w*"
    r"|p90rsk"
    r"|rsk|elf4e|eif4e|eif2a|lat|plcgamma\d|plk1|aurora\w*|hsp27|foxo\w*|igf1r|met|kit|flt3|cbl|gab\d|vav\d?|pak\d?"
    r"|ezrin"
)
_STATE = re.compile(
    # phosphorylation, written in capitals or after a separator, and signalling that is seen in a protein's total amount
    rf"(?:p|phospho)(?:{_KINASE_SUBSTRATES})|p38\w*|(?:gamma|g|p)?h2a-?x|[ty]?ikb(?:a|alpha|b|e)?|(?:total)?ikb\w*"
    # death
    r"|(?:c|cl|cleaved|active|a|act)?(?:casp(?:ase)?)-?\d{1,2}|(?:c|cl|cleaved)?(?:casp(?:ase)?)|(?:c|cl"
    r"|cleaved)?parp1?"
    r"|annexin\w*|anxa5|anxv|apotracker\w*|cytochromec|cytc"
    # cytokines and chemokines, not their receptors
    r"|il-?\d{1,2}[a-f]{0,2}(?:-?\d{1,2})?(?:p\d\d)?|il1ra|ifn[a-z]?\d?|interferon\w*|tnf[abs]?|tnfalpha|g?mcsf|gcsf"
    r"|csf[123]"
    r"|tgfb\d?|ccl\d{1,2}|cxcl\d{1,2}|xcl[12]|mip\d\w*|mcp\d|rantes|ip10|lt[ab]|lymphotoxin\w*|tslp|vegf\w*|osm|lif"
    r"|amphiregulin|areg|osteopontin"
    # proliferation and the cell cycle
    r"|m?ki-?67|mki67|pcna|cyclin\w*|cyc[abde]\d?|ccn[abde]\d|(?:i|br|e)u?du|iudr|pcdk\d|cdt1|geminin|mcm\d|top2a|cfse"
    r"|ctv|ctfr"
    r"|celltrace\w*|cellproliferation\w*|proliferation\w*|cpd\w*|tracevio\w*"
    # dyes and probes of metabolism and function
    r"|mitotracker\w*|mitosox\w*|cellrox\w*|tmr[me]|jc1|fluo[34]\w*|indo1\w*|fura\w*|dcfda|h2dcfda|puromycin|puro"
    r"|lysotracker\w*"
    r"|2nbdg|bodipy\w*|ros"
)


@lru_cache(maxsize=65_536)
def marker_class(marker: str) -> MarkerClass:
    """The class of a marker from its name; ``type`` unless every antigen in the name is a state marker."""
    text = plain_text(marker)
    if _NOT_PHOSPHO.match(text) is None and _PHOSPHO.match(text):
        return "state"
    if _PHOSPHO_SITE.search(text):
        return "state"
    parts = parts_of(marker)
    whole = "".join(word for part, _ in parts for word in words_of(part))
    if _STATE.fullmatch(whole):
        return "state"
    antigens = [part for part, known in parts if known]
    states = [_STATE.fullmatch("".join(words_of(antigen))) is not None for antigen in antigens]
    others = "".join(part for part, known in parts if not known)
    return "state" if states and all(states) and (not others or _STATE.fullmatch(others)) else "type"

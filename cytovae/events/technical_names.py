"""Names of channels that are not markers: scatter, time, viability, DNA, indices, clusters, maps, images.

The patterns follow the names that instruments, programs and laboratories write. Each matches the whole name in lower
case, its words separated by single spaces (``opt-SNE_1`` is ``opt sne 1``).
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from cytovae.events.detector_names import plain_text, without_pulse

_SEPARATORS = re.compile(r"[\s_\-.,;:/\\|()\[\]{}<>@+&'\"*=~?!]+")
_EDGES = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])|(?<=[a-z])(?=ID\b)")  # of words in CamelCase
_NUMBERED = re.compile(
    r"(?P<stem>pc|ic|dc|dm|lv|ld|lda|mds|p|factor|dim|component|latent|z|harmony) ?(?P<number>\d{1,3})"
)

_SCATTER_WORD = r"(?:\d{3}(?:nm)?)?(?:uv|yg|[vbyrgi])?[fsb]sc\d*(?:[ahw]|area|height|width|peak|pmt\w*|int\w*"
r"|h?lin\w*|h?log\w*|alin|alog)?"
_DYES = (
    r"zombie|ghost|viakrome|via ?dye|viobility|viability|fixable|fvd|fvs|efvs|sytox|draq ?7|7 ?aad|propidium"
    r"|helix ?np"
    r"|live ?dead|dead ?live|near ?ir|vivid|amine|calcein|cisplatin|cis ?pt|to ?pro ?\d?|yo ?pro ?\d?"
)
_COLOURS = r"(?:near )?(?:ir|nir|uv|aqua|blue|green|red|violet|yellow|orange|scarlet|lime|crimson|olive|emerald)"

# Of the first group, a name of the detector ($PnN) suffices, even where $PnS names something else.
_FIRM = {
    "scatter": rf"(?:.* )?{_SCATTER_WORD}(?: .*)?|(?:fs|ss)(?:0?\d)?(?: .*)?|(?:fs|ss)(?:int|peak|tof|lin|log)\w*"
    r"|(?:.* )?(?:forward|side|back|light) ?scatter(?: .*)?|(?:axial )?light ?loss(?: .*)?|(?:small|medium"
    r"|large) angle.*"
    r"|[sml]als|fals|rals|electronic volume|coulter volume|extinction|ext",
    "time": r"(?:.* )?time\d*(?: .*)?|timestamp.*|hdr tm?|clock(?: .*)?|time(?:lsw|msw)|elapsed(?: .*)?",
    "event header": r"hdr .*",
    "event length": r"(?:event|cell) ?length",
    "written by cytovae": r"cytovae(?: .*)?",
    "map of cells": r"(?:.* )?(?:\w*sne)(?:[xyz\d])?(?: .*)?|(?:.* )?(?:\w*umap|phate|trimap|pacmap|largevis|isomap"
    r"|densmap"
    r"|embed ?som|viz ?som|phenotsne|forceatlas\d?|force ?atlas\d?|fdl|ivis|scvis|hsne|diffmap|diffusion ?map"
    r"|palantir)"
    r"\d*(?: .*)?|sne[xy]|(?:dim|dimension|coord|coordinate|embedding|emb|pca|mds|nmds|ica|nmf|svd|lle|fr"
    r"|dr) ?[xyz\d]+"
    r"|principal component.*|pca|wanderlust|wishbone|pseudo ?time|dpt|trajectory|branch|csplr .*",
    "cluster": r"(?!clusterin\b).*cluster(?:s|ed|ing|id|s? ?ids?)?\d*(?: .*)?|(?:.* )?(?:flow ?som|pheno ?graph"
    r"|rpheno ?graph"
    r"|x ?shift|spade|citrus|flow ?means|flow ?peaks|flow ?merge|dens ?vm|cluster ?x|density ?cut|sam ?spectral"
    r"|accense|flock"
    r"|leiden|louvain|k ?means|immunoclust|immu clust|fast ?pg|depeche|chrono ?clust|cell ?cnn|flow ?grid|cytotree"
    r"|som ?node|node ?id|meta ?cl\w*|som ?cl\w*|cytometree|backgating)\d*(?: .*)?"
    r"|meta ?\d+|som|node|mc|density|community|subset|cell ?type|phenotype|annotation|landmark|leaf",
    "index or identifier": r"omiq.*|(?:.* )?(?:file|sample|event|cell|row|donor|patient|subject|batch|barcode|object"
    r"|orig(?:inal)?"
    r"|well|plate|image|population|gate|cluster)s? ?(?:id|ids|index|idx|number|num|no|nr|count|name|names|#)"
    r"|(?:id|index|uid|idx|number|nr|no|count|counter|unnamed ?\d*|rownames?|row names?|event ?label|filename"
    r"|original ?file.*"
    r"|file ?scattered|\d+|x 1|#|event ?number ?dp|id ?\d|events?|cells?)",
    "quality control": r"(?:.* )?(?:flow ?ai|flow ?clean|flow ?cut|peaco ?qc|qc|qc ?vector|high ?qc|good ?vs ?bad"
    r"|goodvsbad"
    r"|removed?|remove from \w+|outliers?|is outlier|doublets?(?: score)?|singlets?|debris)",
    "sorting": r"(?:.* )?(?:sort|sorted|sorting)(?: .*)?|(?:.* )?(?:roi|class|classifier|gate) ?bits?(?: .*)?"
    r"|(?:drop|droplet)"
    r"(?: .*)?|sort ?(?:result|decision|class|latency|bits).*|drop ?phase|classifier ?bits|sort ?result ?bits"
    r"|tray ?[xy]"
    r"|index ?[xy]|saturated|packet.*|reserved.*|protocol.*|merged.*|waveform.*|spectral event.*",
    "pulse parameter": r"(?:trigger )?pulse(?: .*)?|doublet|tof|time of flight|width|height|area|length"
    r"|trigger(?: .*)?",
    "autofluorescence": r"(?:.* )?auto ?fluo\w*(?: .*)?|(?:.* )?af\d{0,2}(?: (?:[ahw]|\d+|pop\w*|sig\w*|lymph\w*"
    r"|mono\w*|tag\w*))*",
    "viability": rf"(?:.* )?(?:{_DYES})(?: ?\d+\w*)?(?: .*)?|(?:.* )?viab\w*(?: .*)?|(?:{_DYES}).*"
    rf"|(?:.* )?l ?d(?: .*)?"
    rf"|{_COLOURS} ?(?:ld|dead|vid|l d)|(?:ld|dead|live) ?{_COLOURS}|aqua|aqua (?:amine|dye|live.*|dead.*|zombie)"
    r"|(?:.* )?dead(?: ?(?:cells?|dye|stain|marker|exclusion))?|dead (?:cells?|dye|stain).*|live(?: cells?| dye"
    r"| stain)?|alive"
    r"|via ?\d*|pi|pi \d+|pi (?:pe|cy|texas|ecd|a|h|w|pc).*|dapi(?: .*)?|dcm|ethidium.*|vida?k|fvdye.*"
    r"|hoechst ?33258|livedead.*|rh103 .*|rhodium.*",
    "DNA": r"(?:.* )?(?:dna|iridium|intercalator|hoechst|draq ?5|cell ?id|nuclear ?id|syto ?\d+|sybr ?\w*|picogreen"
    r"|dye ?cycle"
    r"|fx ?cycle|vybrant|acridine)(?: ?(?:\d+|ir))?(?: .*)?|ir ?19[13]|19[13] ?ir|(?:dna|iridium|hoechst)\d*(?:ir)?",
    "beads": r"(?:.* )?(?:\w*beads?\d*|eq\d?)(?: .*)?|(?:.* )?bead ?dist\w*|norm ?beads?|calibration.*"
    r"|eq\d? ?(?:beads?.*|\d+)",
    "barcode": r"(?:.* )?(?:bc|mcb|cbc|bcs)(?: ?\d+)?|(?:.* )?(?:bc|mcb) ?\d+(?: .*)?"
    r"|(?:.* )?(?:de)?barcod\w*(?: .*)?"
    r"|mahalanobis.*|mhl ?dist|bc ?(?:id|separation.*)|separation|delta|pd ?1(?:0[24568]|10)(?: bc.*)?|cell ?plex.*"
    r"|hashtag.*",
    "ion cloud shape": r"center|offset|residual|amplitude|gaussian.*",
}  # fmt: skip

# Of the second group, only a name that no $PnS contradicts.
_WEAK = {
    "label": r"(?:manual |true |gate )?(?:labels?|populations?|gates?|gated|classes|class|class ?\d+"
    r"|classification)(?: ?id)?|gate ?\d+",
    "sample annotation": r"(?:samples?|files?|individual|donor|patient|subject|condition|batch|group|treatment"
    r"|stim|stimulation|time ?points?|visit|day|week|tissue|organ|sex|gender|age|mouse|animal|species|cohort|arm"
    r"|site|run|study"
    r"|replicate|rep|genotype|strain|dose|center ?id|experiment|response|diagnosis|disease|disease ?state)(?: ?(?:id"
    r"|no|name))?",
    "plate or position": r"plate(?: .*)?|well(?: .*)?|row|column|col|tray(?: .*)?|slot|carousel|[xyz]"
    r"|[xyz] ?(?:pos\w*|position"
    r"|coord\w*|loc\w*|center\w*|centroid|min|max|um|µm|px|pixel)|(?:pos\w*|position|location|centroid|cell"
    r"|center)(?: .*)? [xyz]"
    r"(?: .*)?|(?:x ?y|[xyz])(?: .*)? position|(?:tile|region|fov|roi|slide|image|scan|core)(?: .*)?"
    r"|neighbou?rs?(?: .*)?"
    r"|number neighbou?rs|percent touching|distance(?: .*)?|object(?: .*)?",
    "image feature": r"(?:size|eccentricity|ecc|diffusivity|circularity|perimeter|solidity|compactness|roundness"
    r"|elongation"
    r"|orientation|granularity|texture|entropy|aspect ratio|convexity|extent|diameter|lobe\w*|spot ?\w*|gradient"
    r"|contrast|symmetry"
    r"|focus|flow ?speed|camera|mask\w*|bright ?field|darkfield|phase|flow|region|sharpness|thickness|kurtosis"
    r"|skewness)(?: .*)?"
    r"|(?:.* )?(?:radial|axis|axial|long|short) ?moment(?: .*)?|(?:.* )?moment(?: .*)?|(?:max|min|total|raw|peak"
    r"|modulation|bkgd|std)"
    r" (?:max |min )?(?:intensity|pixel|mean|std ?dev)(?: .*)?|(?:mean|median) pixel(?: .*)?"
    r"|(?:.* )?correlation(?: .*)?"
    r"|(?:.* )?similarity(?: .*)?|delta (?:com|cent\w*|x|y)(?: .*)?|(?:.* )?center of mass(?: .*)?"
    r"|(?:.* )?centroid(?: .*)?|(?:.* )?axis ?length"
    r"|(?:major|minor) axis(?: .*)?|bright detail.*|area(?: .*)?|saturation(?: .*)?|(?:nucleus|nuclear|cell"
    r"|cytoplasm|membrane)"
    r" (?:area|size|diameter|perimeter|circularity|eccentricity|solidity|major.*|minor.*)(?: .*)?|img\w*(?: .*)?",
    "empty": r"(?:empty|blank|unused|unstained|none|null|n ?a|bckg?|bkgd?|background|dummy|spare|open|free"
    r"|bg)(?: .*)?|\d+ ?bckg.*",
    "background": r"env\w*|conta\w*|.* (?:env\w*|conta\w*)|arar\w*|(?:xenon|barium|lead|iodine|tin|argon|cesium"
    r"|caesium)(?: .*)?",
    "probability": r"probability|probabilities|posterior.*|novelty|score|likelihood|confidence|max ?prob\w*|weights?"
    r"|(?:.* )?q ?value"
    r"|silhouette.*",
}  # fmt: skip
_FIRM_PATTERNS = {use: re.compile(pattern) for use, pattern in _FIRM.items()}
_WEAK_PATTERNS = {use: re.compile(pattern) for use, pattern in _WEAK.items()}

# The customary use of a metal whose channel names no antibody.
_METAL_USES = {
    "beads": re.compile(r"Ce140|140Ce"),
    "DNA": re.compile(r"Ir19[13]|19[13]Ir|19[13]"),
    "viability": re.compile(r"Pt19[4568]|19[4568]Pt"),
    "barcode": re.compile(r"Pd1(?:0[24568]|10)|1(?:0[24568]|10)Pd|Rh103|103Rh"),
    "background": re.compile(
        r"(?:Ar){1,2}80|80(?:Ar){1,2}|(?:Xe|Sn|Ba)1\d\d|1\d\d(?:Xe|Sn|Ba)|Pb20\d|20\d\d?Pb|Cs133|133Cs|Hg20\d|20\dHg"
        r"|I127|127I|Ru\d{2,3}|\d{2,3}Ru|Os1\d\d|1\d\dOs"
    ),
}

# $PnTYPE of FCS 3.2 (Spidlen et al. 2021, Cytometry A 99:100); other types of signal are markers.
_KINDS = {
    "scatter": re.compile(r".*scatter.*|lightloss.*|extinction|electronicvolume|volume"),
    "time": re.compile(r".*time.*|clock"),
    "index or identifier": re.compile(r"index.*|.*identifier|event.*|count.*"),
    "label": re.compile(r"classif.*|class|gate.*|label.*"),
    "cluster": re.compile(r"cluster.*"),
    "image feature": re.compile(r"shape.*|imag.*|size.*|texture.*|morpholog.*|position.*|location.*|mask.*|spatial.*"),
    "sorting": re.compile(r"sort.*"),
    "pulse parameter": re.compile(r".*width.*"),
    "autofluorescence": re.compile(r"autofluo.*"),
    "viability": re.compile(r"viab.*"),
    "computed": re.compile(
        r"computed.*|derived.*|ratio.*|parameter|other.*nonfluo.*|analysis.*|probabilit.*|embedding.*"
    ),
}
_SIGNAL_FEATURES = frozenset(
    {
        "",
        "-",
        "area",
        "height",
        "width",
        "peak",
        "integral",
        "integrated",
        "a",
        "h",
        "w",
        "mean",
        "median",
        "intensity",
        "signal",
    }
    | {"log", "linear", "na", "none", "time", "t"}
)


def _normal(text: str) -> str:
    spaced = _EDGES.sub(" ", text)
    return " ".join(_SEPARATORS.sub(" ", spaced.casefold()).split())


@lru_cache(maxsize=4096)
def technical_use(text: str, *, firm_only: bool = False) -> str:
    """What a channel of this name holds if that is no marker; '' if it may be one.

    With ``firm_only``, names that could just as well be that of a detector are not judged.
    """
    forms = dict.fromkeys(
        form for name in (plain_text(text), without_pulse(text)) for form in (_normal(name), _normal(name.casefold()))
    )
    groups = (_FIRM_PATTERNS,) if firm_only else (_FIRM_PATTERNS, _WEAK_PATTERNS)
    for patterns in groups:
        for use, pattern in patterns.items():
            if any(form and pattern.fullmatch(form) for form in forms):
                return use
    return ""


def metal_use(isotope: str) -> str:
    """The customary use of a metal without an antibody; '' if it has none."""
    return next((use for use, pattern in _METAL_USES.items() if pattern.fullmatch(isotope)), "")


def use_of_kind(kind: str, feature: str) -> str:
    """What ``$PnTYPE`` and ``$PnFEATURE`` say that a channel holds if it is no marker; '' if it may be one."""
    plain = re.sub(r"[\s_-]+", "", kind).casefold()
    for use, pattern in _KINDS.items():
        if pattern.fullmatch(plain):
            return use
    return "" if re.sub(r"[\s_-]+", "", feature).casefold() in _SIGNAL_FEATURES else "image feature"


def numbered_components(names: Iterable[str]) -> frozenset[str]:
    """Names that number the components of a map or of a mixture: PC1, PC2, …; a single PC5 is a fluorochrome."""
    numbers: dict[str, dict[int, str]] = {}
    for name in names:
        match = _NUMBERED.fullmatch(_normal(plain_text(name)))
        # `p_1` is a probability, `p1` could be anything.
        if match and (match["stem"] != "p" or " " in match[0]):
            numbers.setdefault(match["stem"], {})[int(match["number"])] = name
    return frozenset(name for found in numbers.values() if {1, 2} <= set(found) for name in found.values())

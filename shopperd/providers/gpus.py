"""One canonical name and nominal memory for each GPU, whatever a marketplace or a user calls it.

Three spellings meet here: Vast.ai's display names (``RTX 4080S``, memory apart in MB), TensorDock's v0 names
(``geforcertx4090-pcie-24gb``) and display names, and what people type (``rtx_4090``). The table is in `gpu_table`.

One name can have several memory sizes, some of them on boards with exchanged chips, so an offer's class is the pair of
name and memory, never the name alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from attrs import frozen

from shopperd.providers.gpu_table import MARKETED_GB, STOCK_GB, TENSORDOCK_NAMES, VASTAI_NAMES

UNKNOWN_NAME: Final = "unknown"
"""The name of a GPU that its provider did not name."""

NAME_CHARS_MAX: Final = 64
"""Longer names are cut: a name becomes a metric label and a database column, and real ones have under 40."""

CACHE_ENTRIES_MAX: Final = 4096
"""A market of 64,000 offers has about 200 pairs of raw name and memory; the bound only guards against nonsense."""

_USABLE_PERMILLE_MIN: Final = 925
"""Least usable share of the nominal size. Drivers and error correction take up to 6.8 % (B300: 275040 MB of 288 GB)."""

_FILTER_PERCENT: Final = 92
"""Share of the nominal size to filter by: a little below the least seen, since a provider's filter has no second try."""

_RAM_MB_MAX: Final = 16 * 1024 * 1024
"""A GPU with 16 TB is a broken number."""

_BUS = r"pcie|sxm\d?|nvlink"
_VENDOR = r"nvidia|geforce|geforece|tesla|amd|instinct"
_SIZE = r"(\d{1,4}) ?gi?b"

_BUS_WORD = re.compile(_BUS, re.ASCII)
_BUS_AT_END = re.compile(rf"(?:{_BUS})$", re.ASCII)
_SIZE_WORDS = re.compile(rf"(?<!\S){_SIZE}(?!\S)", re.ASCII | re.IGNORECASE)
_HYPHEN_BEFORE_BUS_OR_SIZE = re.compile(rf"-(?=(?:{_BUS}|{_SIZE})(?:[ -]|$))", re.ASCII | re.IGNORECASE)
_VENDOR_START = re.compile(rf"^(?:{_VENDOR})+", re.ASCII | re.IGNORECASE)
_MINING_LIMIT_END = re.compile(r"(?:lhr)+$", re.ASCII | re.IGNORECASE)
_EMPTY_WORDS: Final = frozenset({"", "gpu", "generation"})
_GLUED_WORD = re.compile(
    r"(quadro)?(rtx|gtx|gt)?(pro)?(a?\d{3,5}[ds]?)(ti)?(super|sffada|ada|laptop)?", re.ASCII | re.IGNORECASE
)
_PCIE_ONLY: Final = frozenset({"RTX", "GTX", "GT", "Quadro", "TITAN"})
_WORD_STYLES: Final = {
    **{word.lower(): word for word in ("Ti", "SUPER", "Ada", "Laptop", "Max-Q", "PRO", "Quadro", "Server")},
    **{word.lower(): word for word in ("RTX", "GTX", "GT", "TITAN", "PCIe", "NVLink", "NVL", "Workstation")},
    "sffada": "SFF Ada",
}
_ASCII_UPPER: Final = {lower: lower - 32 for lower in range(ord("a"), ord("z") + 1)}


@frozen
class Gpu:
    """A GPU model as offered.

    Attributes:
        name: canonical name, such as ``RTX 4080 SUPER``; for an unknown model the raw name made tidy.
        vram_gb: nominal memory of one GPU in GB, None if neither the provider nor the name tells.
        known: the name is in our table.
    """

    name: str
    vram_gb: int | None
    known: bool


def canonical(provider: str, raw_name: str | None, ram_mb: float | None) -> Gpu:
    """The GPU that a marketplace means by a raw name. Never raises; a model we do not know keeps a readable name.

    Args:
        provider: ``vastai`` or ``tensordock``; its own aliases are tried before the other's.
        raw_name: display name or v0 name, as sent.
        ram_mb: usable memory of one GPU in MB (MiB in truth), None if the provider does not send it. It is measured,
            so it goes before a size in the name, which goes before the size the product was sold with if that was one.
    """
    return _recognised(provider, raw_name or "", ram_mb)


def matches(wanted: str, gpu_name: str, vram_gb: int | None = None) -> bool:
    """Whether a user's spelling of a GPU means the GPU of this canonical name.

    Case, spaces, underscores, vendor words and the aliases of either marketplace are forgiven; the class is exact:
    ``RTX 4090`` is no ``RTX 4090D`` and no ``RTX 4090 Laptop``. Only the bus may be left open: ``A100`` means
    ``A100 PCIe``, ``A100 SXM`` and ``A100 NVLink``, which are one product on several buses, and ``H100`` likewise. NVL
    is no bus but a product with other memory, so ``H100`` is no ``H100 NVL``. The other way round, ``A100 SXM`` is no
    ``A100`` of untold bus. An empty name means nothing.

    A size in `wanted` (``A100 80GB``) must equal `vram_gb` where that is given, else it is not looked at.
    """
    return _means(wanted, gpu_name, vram_gb)


def vastai_names(canonical_name: str) -> tuple[str, ...]:
    """The display names to send to Vast.ai, whose filter wants them exactly, for a GPU in any spelling.

    A family (``A100``) gives the names of its members. For a model that is not in the table, these are guesses by
    Vast.ai's habits. Empty when Vast.ai does not list the GPU, or the name is empty.
    """
    members = [name for name in STOCK_GB if matches(canonical_name, name)]
    if members:
        return tuple(dict.fromkeys(raw for name in members for raw in _vastai_names_of(name)))
    name = canonical("vastai", canonical_name, None).name
    return () if name == UNKNOWN_NAME else tuple(dict.fromkeys((_vastai_habit(name), name)))


def all_vastai_names() -> tuple[str, ...]:
    """Every display name we know on Vast.ai, sorted: one search for each splits a market answer that was cut off."""
    return tuple(sorted({raw for name in STOCK_GB for raw in _vastai_names_of(name)}))


def usable_mb(vram_gb: int) -> int:
    """The least MB that a GPU of this nominal size reports: what to send as a filter for "at least N GB"."""
    return vram_gb * 1024 * _FILTER_PERCENT // 100


@lru_cache(maxsize=CACHE_ENTRIES_MAX)
def _recognised(provider: str, raw_name: str, ram_mb: float | None) -> Gpu:
    tidied = _tidied(raw_name)
    name = _known_name(provider, _key(tidied))
    stock = STOCK_GB[name] if name is not None else ()
    vram_gb = _nominal_gb(ram_mb, stock) or _size_in(raw_name)
    if vram_gb is None and len(stock) == 1:
        vram_gb = stock[0]
    return Gpu(name=name or tidied, vram_gb=vram_gb, known=name is not None)


@lru_cache(maxsize=CACHE_ENTRIES_MAX)
def _means(wanted: str, gpu_name: str, vram_gb: int | None) -> bool:
    meant = canonical("", wanted, None)
    if meant.name == UNKNOWN_NAME:
        return False
    wanted_key, gpu_key = _key(meant.name), _key(canonical("", gpu_name, None).name)
    if wanted_key not in (gpu_key, _without_bus(gpu_key)):
        return False
    wanted_gb = _size_in(wanted)
    return wanted_gb is None or vram_gb is None or wanted_gb == vram_gb


def _known_name(provider: str, key: str) -> str | None:
    """The canonical name for a key, with its bus word or, unless the bus tells products apart, without."""
    product = _without_bus(key)
    for candidate in (key,) if product in _FAMILIES else (key, product):
        for names in (_CANONICAL, _ALIASES.get(provider, {}), *_ALIASES.values()):
            if candidate in names:
                return names[candidate]
    return None


def _nominal_gb(ram_mb: float | None, stock: tuple[int, ...]) -> int | None:
    """The smallest size that can report this many MB: it is not below them, and its least usable part not above.

    The product's own sizes come first, then all sizes on the market, then (a size nobody sells) the MB rounded.
    """
    # The chained comparison also refuses NaN, and integers too large for a float.
    if ram_mb is None or not 0 < ram_mb < _RAM_MB_MAX:
        return None
    for size_gb in (*stock, *MARKETED_GB):
        if size_gb * 1024 * _USABLE_PERMILLE_MIN <= ram_mb * 1000 and ram_mb <= size_gb * 1024:
            return size_gb
    return max(1, round(ram_mb / 1024))


def _size_in(raw_name: str) -> int | None:
    """The memory in GB that a raw name states (its last, if several), None if it states none."""
    sizes = [int(size) for size in _SIZE_WORDS.findall(_separated(raw_name))]
    return (sizes[-1] or None) if sizes else None


def _separated(raw_name: str) -> str:
    """The name as words with single spaces: hyphens stay inside words such as ``P106-100`` and ``Max-Q``."""
    text = "".join(char if char.isalnum() or char in "-+." else " " for char in raw_name[: 4 * NAME_CHARS_MAX])
    return " ".join(_HYPHEN_BEFORE_BUS_OR_SIZE.sub(" ", text).split())


def _tidied(raw_name: str) -> str:
    """A readable name without vendor words and memory size, `UNKNOWN_NAME` if nothing is left.

    Each round takes away what the one before laid bare, until nothing changes, so tidying twice equals tidying once.
    Rounds end, because one never adds a character other than a space between two parts of a word.
    """
    name = raw_name
    while (tidier := _tidied_once(name)) != name:
        name = tidier
    return name


def _tidied_once(name: str) -> str:
    text = _SIZE_WORDS.sub(" ", _separated(name))
    words = [_MINING_LIMIT_END.sub("", _VENDOR_START.sub("", word)) for word in text.split()]
    words = [word for word in words if word.lower() not in _EMPTY_WORDS]
    if not words or [word.lower() for word in words] == [UNKNOWN_NAME]:
        return UNKNOWN_NAME
    machine_spelling = not any(char.isupper() for word in words for char in word)
    words = [_styled(part, machine_spelling) for word in words for part in _parts(word)]
    if words[0] in _PCIE_ONLY:
        words = [word for word in words if word != "PCIe"]
    return " ".join(words)[:NAME_CHARS_MAX].rstrip()


def _parts(word: str) -> Iterable[str]:
    glued = _GLUED_WORD.fullmatch(word)
    return [part for part in glued.groups() if part] if glued else [word]


def _styled(word: str, machine_spelling: bool) -> str:
    lower = word.lower()
    if style := _WORD_STYLES.get(lower):
        return style
    return word.translate(_ASCII_UPPER) if machine_spelling or _BUS_WORD.fullmatch(lower) else word


def _key(name: str) -> str:
    """What is compared: letters and digits of a tidied name in lower case, without an SXM generation.

    A plus sign counts, as it tells products apart.
    """
    key = "".join(char for char in name.lower() if char.isalnum() or char == "+")
    return key[:-1] if re.search(r"sxm\d$", key, re.ASCII) else key


def _without_bus(key: str) -> str:
    return _BUS_AT_END.sub("", key)


def _vastai_names_of(name: str) -> tuple[str, ...]:
    return VASTAI_NAMES.get(name, (_vastai_habit(name),))


def _vastai_habit(name: str) -> str:
    """How Vast.ai abbreviates: ``RTX 4070S Ti``, ``RTX 4080S``, ``RTX 6000Ada``, ``Q RTX 8000``, ``A100 PCIE``."""
    return (
        name.replace(" Ti SUPER", "S Ti")
        .replace(" SUPER", "S")
        .replace(" Ada", "Ada")
        .replace(" Laptop", " laptop")
        .replace(" PCIe", " PCIE")
        .replace("Quadro RTX", "Q RTX")
    )


def _short_spelling(name: str) -> str:
    """``RTX 4070 TiS``: how people shorten SUPER where Vast.ai does not."""
    return name.replace(" SUPER", "S")


def _keys(spellings: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """From the key of each spelling to its canonical name."""
    return {_key(_tidied(raw)): name for name, raws in spellings.items() for raw in raws}


_CANONICAL: Final = {_key(name): name for name in STOCK_GB}
_ALIASES: Final[Mapping[str, Mapping[str, str]]] = {
    "vastai": _keys({name: _vastai_names_of(name) for name in STOCK_GB}),
    "tensordock": _keys(TENSORDOCK_NAMES),
    "people": _keys({name: (_short_spelling(name),) for name in STOCK_GB}),
}
_FAMILIES: Final = {_without_bus(key) for key in _CANONICAL if _without_bus(key) != key}
"""Keys of the products that the table tells apart by bus."""

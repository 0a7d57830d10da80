"""The GPUs we know: canonical names, the memory each was sold with, and what a marketplace calls it.

A canonical name is NVIDIA's or AMD's short product name without vendor words. A bus word (SXM, PCIe, NVLink) is part of
it only where one product was sold with several. Spellings that differ only in case, spaces, underscores or vendor words
need no entry: `gpus` forgives those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

STOCK_GB: Final[Mapping[str, tuple[int, ...]]] = {
    # Data centre, Blackwell and Hopper.
    "B300": (288,),
    "B200": (192,),
    "GH200": (96, 144),
    "H200": (141,),
    "H200 NVL": (141,),
    "H100": (80,),
    "H100 SXM": (80,),
    "H100 PCIe": (80,),
    "H100 NVL": (94,),
    # Data centre, Ada and Ampere.
    "L40S": (48,),
    "L40": (48,),
    "L4": (24,),
    "A100": (40, 80),
    "A100 SXM": (40, 80),
    "A100 PCIe": (40, 80),
    "A100 NVLink": (40,),
    "A100X": (80,),
    "A800": (80,),
    "A800 PCIe": (80,),
    "A40": (48,),
    "A30": (24,),
    "A16": (16,),  # four GPUs a board, 16 GB each
    "A10": (24,),
    "A10G": (24,),
    "A2": (16,),
    # Data centre, older. Both buses of these are one class here, as the marketplaces do not tell them apart.
    "V100": (16, 32),
    "T4": (16,),
    "P100": (12, 16),
    "P40": (24,),
    "P4": (8,),
    "M40": (12, 24),
    "K80": (12,),  # two GPUs a board, 12 GB each
    # Workstation.
    "RTX PRO 6000": (96,),
    "RTX PRO 6000 Workstation": (96,),
    "RTX PRO 6000 Server": (96,),
    "RTX PRO 6000 Max-Q": (96,),
    "RTX PRO 5000": (48, 72),
    "RTX PRO 4500": (32,),
    "RTX PRO 4000": (24,),
    "RTX 6000 Ada": (48,),
    "RTX 5880 Ada": (48,),
    "RTX 5000 Ada": (32,),
    "RTX 4500 Ada": (24,),
    "RTX 4000 Ada": (20,),
    "RTX 4000 SFF Ada": (20,),
    "RTX 2000 Ada": (16,),
    "RTX A6000": (48,),
    "RTX A5500": (24,),
    "RTX A5000": (24,),
    "RTX A4500": (20,),
    "RTX A4000": (16,),
    "RTX A2000": (6, 12),
    "Quadro RTX 8000": (48,),
    "Quadro RTX 6000": (24,),
    "Quadro RTX 5000": (16,),
    "Quadro RTX 4000": (8,),
    "Quadro P6000": (24,),
    "Quadro P5000": (16,),
    "Quadro P4000": (8,),
    "Quadro P2000": (5,),
    # GeForce and TITAN.
    "RTX 5090": (32,),
    "RTX 5080": (16,),
    "RTX 5070 Ti": (16,),
    "RTX 5070": (12,),
    "RTX 5060 Ti": (8, 16),
    "RTX 5060": (8,),
    "RTX 4090": (24,),
    "RTX 4090D": (24,),
    "RTX 4080 SUPER": (16,),
    "RTX 4080": (16,),
    "RTX 4080 Laptop": (12,),
    "RTX 4070 Ti SUPER": (16,),
    "RTX 4070 Ti": (12,),
    "RTX 4070 SUPER": (12,),
    "RTX 4070": (12,),
    "RTX 4060 Ti": (8, 16),
    "RTX 4060": (8,),
    "RTX 4060 Laptop": (8,),
    "RTX 3090 Ti": (24,),
    "RTX 3090": (24,),
    "RTX 3080 Ti": (12,),
    "RTX 3080": (10, 12),
    "RTX 3070 Ti": (8,),
    "RTX 3070": (8,),
    "RTX 3070 Laptop": (8,),
    "RTX 3060 Ti": (8,),
    "RTX 3060": (8, 12),
    "RTX 3060 Laptop": (6,),
    "RTX 3050": (6, 8),
    "RTX 2080 Ti": (11,),
    "RTX 2080 SUPER": (8,),
    "RTX 2080": (8,),
    "RTX 2070 SUPER": (8,),
    "RTX 2070": (8,),
    "RTX 2060 SUPER": (8,),
    "RTX 2060": (6, 12),
    "GTX 1660 Ti": (6,),
    "GTX 1660 SUPER": (6,),
    "GTX 1660": (6,),
    "GTX 1650 SUPER": (4,),
    "GTX 1650": (4,),
    "GTX 1080 Ti": (11,),
    "GTX 1080": (8,),
    "GTX 1070 Ti": (8,),
    "GTX 1070": (8,),
    "GTX 1060": (3, 6),
    "GTX 1050 Ti": (4,),
    "GTX 1050": (2,),
    "GT 710": (1, 2),
    "TITAN RTX": (24,),
    "TITAN V": (12,),
    "TITAN Xp": (12,),
    "GTX TITAN X": (12,),
    # Mining boards, and AMD.
    "CMP 170HX": (8,),
    "P106-100": (6,),
    "P104-100": (4, 8),
    "MI300X": (192,),
}
"""Nominal GB per GPU of each product as it was sold. Boards with exchanged chips are not listed; see `MARKETED_GB`."""

MARKETED_GB: Final = (
    *(1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 16, 20, 22, 24, 32, 40, 44, 48, 64, 72, 80, 94, 96, 128, 141, 144),
    *(192, 256, 288),
)
"""Sizes to choose from where a product's own do not fit: boards with exchanged chips, and products not in the table."""

VASTAI_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "A10G": ("A10g",),
    "A100 SXM": ("A100 SXM4", "A100 SXM"),
    "GH200": ("GH200 SXM",),
    "V100": ("Tesla V100",),
    "T4": ("Tesla T4",),
    "P100": ("Tesla P100",),
    "P40": ("Tesla P40",),
    "P4": ("Tesla P4",),
    "M40": ("Tesla M40",),
    "K80": ("Tesla K80",),
    "RTX PRO 6000 Workstation": ("RTX PRO 6000 WS", "RTX PRO 6000 WK"),
    "RTX PRO 6000 Server": ("RTX PRO 6000 S",),
    "RTX PRO 6000 Max-Q": ("RTX PRO 6000 MaxQ",),
    "GTX 1660 SUPER": ("GTX 1660 S",),
    "GTX 1650 SUPER": ("GTX 1650 S",),
    "GTX 1060": ("GTX 1060", "GTX 1060 6GB"),
    "TITAN RTX": ("Titan RTX",),
    "TITAN V": ("Titan V",),
    "TITAN Xp": ("Titan Xp",),
    # Families: Vast.ai always tells the bus of these.
    "A100": (),
    "A800": (),
    "H100": (),
    # Only TensorDock has listed these.
    "A100 NVLink": (),
    "GT 710": (),
}
"""Display names on Vast.ai that its habits (see `gpus.vastai_names`) do not give.

Source: recorded offers of 2019 to 2026, and the names that its client and its site list.
"""

TENSORDOCK_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    # The Ada cards before they were renamed, not the Ampere cards of nearly the same name.
    "RTX 5000 Ada": ("adartxa5000",),
    "RTX 4000 Ada": ("adartxa4000",),
    "RTX 4000 SFF Ada": ("adartxa4000sff",),
}
"""Models in TensorDock's v0 names that are more than the canonical name written together."""

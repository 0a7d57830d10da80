"""The GPU models that the pretend market deals in: raw provider names, usable memory, rough price and speed.

Names and memory sizes are facts of the two marketplaces (one Vast.ai name covers several memory sizes; usable memory lies a
few per cent below the nominal size). Prices and speeds are of the right order and otherwise made up.
"""

from __future__ import annotations

from attrs import frozen


@frozen
class GpuModel:
    """One GPU model as Vast.ai lists it.

    Attributes:
        name: Vast.ai's `gpu_name`, with spaces.
        ram_mb: usable memory of one GPU.
        weight: how common it is on the market.
        price: typical USD per hour and GPU.
        tflops, mem_bw: per GPU, TFLOPS and GB/s.
        compute_cap: CUDA capability times 100.
    """

    name: str
    ram_mb: int
    weight: int
    price: float
    tflops: float
    mem_bw: float
    compute_cap: int
    max_power: float
    nvlink: bool = False


def _models(*rows: tuple[str, int, int, float, float, float, int, float]) -> tuple[GpuModel, ...]:
    return tuple(GpuModel(*row, nvlink="SXM" in row[0] or "NVL" in row[0]) for row in rows)


VAST_MODELS: tuple[GpuModel, ...] = _models(
    ("RTX 4090", 24564, 89, 0.36, 82.6, 905.0, 890, 450.0),
    ("RTX 4090", 49140, 17, 0.52, 82.6, 905.0, 890, 450.0),
    ("RTX 4090", 23028, 2, 0.35, 82.6, 905.0, 890, 450.0),
    ("RTX 5090", 32607, 102, 0.46, 104.8, 1580.0, 1200, 575.0),
    ("RTX 3090", 24576, 73, 0.17, 35.6, 842.0, 860, 350.0),
    ("RTX 3090 Ti", 24564, 5, 0.21, 40.0, 910.0, 860, 450.0),
    ("RTX 4080", 16376, 12, 0.22, 48.7, 640.0, 890, 320.0),
    ("RTX 4080S", 16376, 20, 0.23, 52.2, 660.0, 890, 320.0),
    ("RTX 4080S", 32760, 9, 0.29, 52.2, 660.0, 890, 320.0),
    ("RTX 4070S Ti", 16376, 21, 0.16, 44.1, 620.0, 890, 285.0),
    ("RTX 4060 Ti", 16380, 22, 0.11, 22.1, 260.0, 890, 165.0),
    ("RTX 4060 Ti", 8188, 2, 0.09, 22.1, 260.0, 890, 160.0),
    ("RTX 5080", 16303, 42, 0.26, 56.3, 870.0, 1200, 360.0),
    ("RTX 5070 Ti", 16303, 37, 0.18, 43.9, 810.0, 1200, 300.0),
    ("RTX 5060 Ti", 16311, 70, 0.12, 23.7, 400.0, 1200, 180.0),
    ("RTX 3080", 10240, 29, 0.11, 29.8, 690.0, 860, 320.0),
    ("RTX 3080", 12288, 4, 0.12, 30.6, 820.0, 860, 350.0),
    ("RTX 3060", 12288, 65, 0.07, 12.7, 330.0, 860, 170.0),
    ("RTX 3070", 8192, 34, 0.08, 20.3, 410.0, 860, 220.0),
    ("RTX 2080 Ti", 11264, 25, 0.09, 13.4, 560.0, 750, 250.0),
    ("RTX 2080 Ti", 22528, 10, 0.13, 13.4, 560.0, 750, 250.0),
    ("GTX 1080 Ti", 11178, 3, 0.06, 11.3, 410.0, 610, 250.0),
    ("GTX 1660 S", 6144, 21, 0.05, 5.0, 300.0, 750, 125.0),
    ("RTX A4000", 16376, 38, 0.10, 19.2, 390.0, 860, 140.0),
    ("RTX A5000", 24564, 17, 0.19, 27.8, 680.0, 860, 230.0),
    ("RTX A6000", 49140, 11, 0.41, 38.7, 680.0, 860, 300.0),
    ("RTX 6000Ada", 49140, 9, 0.62, 91.1, 830.0, 890, 300.0),
    ("RTX 4000Ada", 20475, 4, 0.18, 26.7, 320.0, 890, 130.0),
    ("RTX PRO 6000 WS", 97887, 43, 0.98, 126.0, 1590.0, 1200, 600.0),
    ("RTX PRO 6000 S", 97887, 32, 0.92, 120.0, 1430.0, 1200, 600.0),
    ("RTX PRO 4000", 24467, 25, 0.24, 46.0, 610.0, 1200, 140.0),
    ("L4", 23034, 9, 0.24, 30.3, 240.0, 890, 72.0),
    ("L40S", 46068, 42, 0.58, 91.6, 690.0, 890, 350.0),
    ("A10", 23028, 7, 0.20, 31.2, 480.0, 860, 150.0),
    ("Tesla T4", 15360, 3, 0.12, 8.1, 250.0, 750, 70.0),
    ("Tesla V100", 16384, 7, 0.14, 15.7, 790.0, 700, 300.0),
    ("Tesla V100", 32768, 21, 0.22, 15.7, 790.0, 700, 300.0),
    ("A100 PCIE", 40960, 21, 0.55, 19.5, 1280.0, 800, 250.0),
    ("A100 PCIE", 81920, 23, 0.79, 19.5, 1600.0, 800, 300.0),
    ("A100 SXM4", 40960, 50, 0.58, 19.5, 1330.0, 800, 400.0),
    ("A100 SXM4", 81920, 66, 0.86, 19.5, 1710.0, 800, 400.0),
    ("H100 PCIE", 81559, 17, 1.72, 51.2, 1750.0, 900, 350.0),
    ("H100 NVL", 95830, 32, 1.83, 60.0, 3200.0, 900, 400.0),
    ("H100 SXM", 81559, 95, 1.87, 53.5, 2850.0, 900, 700.0),
    ("H200", 143771, 14, 2.42, 53.5, 4100.0, 900, 700.0),
    ("H200 NVL", 143771, 12, 2.31, 53.0, 4000.0, 900, 600.0),
    ("B200", 183359, 15, 3.46, 76.0, 6800.0, 1000, 1000.0),
)


@frozen
class DockModel:
    """One GPU model as TensorDock lists it; the nominal memory in GB stands at the end of `v0_name`."""

    v0_name: str
    display_name: str
    vram_gb: int
    price: float
    weight: int


DOCK_MODELS: tuple[DockModel, ...] = (
    DockModel("geforcertx4090-pcie-24gb", "NVIDIA GeForce RTX 4090 PCIe 24GB", 24, 0.37, 8),
    DockModel("geforcertx3090-pcie-24gb", "NVIDIA GeForce RTX 3090 PCIe 24GB", 24, 0.19, 6),
    DockModel("geforcertx5090-pcie-32gb", "NVIDIA GeForce RTX 5090 PCIe 32GB", 32, 0.51, 4),
    DockModel("rtxa6000-pcie-48gb", "NVIDIA RTX A6000 PCIe 48GB", 48, 0.41, 4),
    DockModel("rtxa4000-pcie-16gb", "NVIDIA RTX A4000 PCIe 16GB", 16, 0.11, 3),
    DockModel("rtx6000ada-pcie-48gb", "NVIDIA RTX 6000 Ada PCIe 48GB", 48, 0.76, 2),
    DockModel("l4-pcie-24gb", "NVIDIA L4 PCIe 24GB", 24, 0.235, 3),
    DockModel("l40s-pcie-48gb", "NVIDIA L40S PCIe 48GB", 48, 0.50, 3),
    DockModel("a40-pcie-48gb", "a40-pcie-48gb", 48, 0.33, 1),
    DockModel("v100-sxm2-16gb", "NVIDIA V100 SXM2 16GB", 16, 0.19, 2),
    DockModel("a100-pcie-80gb", "NVIDIA A100 PCIe 80GB", 80, 0.88, 3),
    DockModel("a100-sxm4-80gb", "NVIDIA A100 SXM4 80GB", 80, 1.19, 2),
    DockModel("h100-sxm5-80gb", "NVIDIA H100 SXM5 80GB", 80, 2.21, 3),
)

PLACES: tuple[tuple[str, str, int], ...] = (
    ("California, US", "California", 9),
    ("Texas, US", "Texas", 7),
    ("Washington, US", "Washington", 5),
    ("New York, US", "New York", 3),
    (", US", "", 3),
    ("Quebec, CA", "Quebec", 4),
    (", CA", "", 1),
    ("Sweden, SE", "Sweden", 4),
    ("Norway, NO", "Norway", 4),
    ("Germany, DE", "Germany", 4),
    ("Czechia, CZ", "Czechia", 3),
    ("Poland, PL", "Poland", 3),
    ("Bulgaria, BG", "Bulgaria", 2),
    ("United Kingdom, GB", "United Kingdom", 3),
    ("Japan, JP", "Japan", 3),
    ("South Korea, KR", "South Korea", 3),
    ("Taiwan, TW", "Taiwan", 2),
    (", CN", "", 2),
    ("Australia, AU", "Australia", 1),
    ("Norway", "Norway", 1),
)
"""Vast.ai's `geolocation`, a region name, a weight. An empty region and a bare country word are real and common."""

SITES: tuple[tuple[str, str, str, int], ...] = (
    ("Chubbuck", "Idaho", "United States", 1),
    ("Manassas", "Virginia", "United States", 3),
    ("Dallas", "Texas", "United States", 4),
    ("Joplin", "Missouri", "United States", 2),
    ("Orlando", "Florida", "United States", 3),
    ("Wilmington", "Delaware", "United States", 3),
    ("Ottawa", "Ontario", "Canada", 2),
    ("Winnipeg", "Manitoba", "Canada", 0),
    ("Frankfurt", "Hesse", "Germany", 4),
    ("Warsaw", "Masovia", "Poland", 3),
    ("Eygelshoven", "Limburg", "Netherlands", 3),
    ("London", "England", "United Kingdom", 2),
    ("Mumbai", "Maharashtra", "India", 2),
    ("Texas", "Texas", "United States", 4),
)
"""TensorDock's city, state or province, country and tier (0 residential, 3 and 4 data centres)."""

PROCESSORS: tuple[tuple[str, int, float], ...] = (
    ("AMD EPYC 7543 32-Core Processor", 64, 2.8),
    ("AMD EPYC 7742 64-Core Processor", 128, 2.25),
    ("AMD EPYC 9654 96-Core Processor", 192, 2.4),
    ("Intel(R) Xeon(R) Platinum 8480+", 112, 2.0),
    ("Intel(R) Xeon(R) CPU E5-2680 v4", 28, 2.4),
    ("AMD Ryzen 9 5950X 16-Core Processor", 32, 3.4),
    ("AMD Ryzen Threadripper PRO 5975WX", 64, 3.6),
)
"""Name, threads, GHz."""

DRIVERS: tuple[tuple[str, float], ...] = (
    ("535.161.08", 12.2),
    ("550.127.05", 12.4),
    ("570.124.04", 12.8),
    ("580.95.05", 13.0),
    ("590.48.01", 13.1),
    ("570.86", 12.8),
)
"""Driver version (two or three parts) and the CUDA version that it supports."""

"""GPU names: every spelling of both marketplaces and of people leads to one class, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopperd.providers.gpu_table import MARKETED_GB, STOCK_GB, TENSORDOCK_NAMES, VASTAI_NAMES
from shopperd.providers.gpus import (
    NAME_CHARS_MAX,
    UNKNOWN_NAME,
    Gpu,
    all_vastai_names,
    canonical,
    matches,
    usable_mb,
    vastai_names,
)

RECORDED_NAMES = Path(__file__).parents[3] / "shared" / "fixtures" / "gpu_names.json"

NAME_PIECES = [
    *("NVIDIA", "geforce", "GeForce RTX", "rtx", "gtx", "4090", "rtx7777ti", "super", "Ti", "lhr", "gpu", "a100"),
    *("pcie", "PCIe", "sxm4", "SXM", "nvlink", "24gb", "24", "gb", "GiB", "0gb", "quadro", "tesla", "unknown"),
    *("Max-Q", "+", "-", "_", " ", "é", "\u017f", "\u0130"),
]
names_like_real_ones = st.lists(st.one_of(st.sampled_from(NAME_PIECES), st.text(max_size=3)), max_size=12).map("".join)
any_names = st.one_of(st.none(), st.text(), names_like_real_ones, st.text(min_size=60, max_size=400))
any_memory = st.one_of(st.none(), st.floats(), st.integers(), st.just(10**400))


@pytest.mark.parametrize(
    ("raw_name", "ram_mb", "name", "vram_gb"),
    [
        ("RTX 4090", 24564, "RTX 4090", 24),
        ("RTX 4090", 23028, "RTX 4090", 24),
        ("RTX 4090", 24564.0, "RTX 4090", 24),
        ("RTX 4090D", 24564, "RTX 4090D", 24),
        ("RTX 4080S", 16376, "RTX 4080 SUPER", 16),
        ("RTX 4070S Ti", 16376, "RTX 4070 Ti SUPER", 16),
        ("GTX 1660 S", 6144, "GTX 1660 SUPER", 6),
        ("RTX 6000Ada", 49140, "RTX 6000 Ada", 48),
        ("Q RTX 8000", 46080, "Quadro RTX 8000", 48),
        ("RTX PRO 6000 S", 97887, "RTX PRO 6000 Server", 96),
        ("RTX PRO 6000 WS", 97887, "RTX PRO 6000 Workstation", 96),
        ("A100 SXM4", 39936, "A100 SXM", 40),
        ("A100 SXM4", 81920, "A100 SXM", 80),
        ("A100 PCIE", 40960, "A100 PCIe", 40),
        ("H100 NVL", 95830, "H100 NVL", 94),
        ("H200", 143771, "H200", 141),
        ("B200", 183359, "B200", 192),
        ("B300", 275040, "B300", 288),
        ("Tesla T4", 15360, "T4", 16),
        ("GTX 1060", 3072, "GTX 1060", 3),
        ("GTX 1060 6GB", 6144, "GTX 1060", 6),
        ("RTX 3060 laptop", 6144, "RTX 3060 Laptop", 6),
        ("P106-100", None, "P106-100", 6),
    ],
)
def test_a_vastai_name_and_its_usable_memory_lead_to_one_class(
    raw_name: str, ram_mb: float | None, name: str, vram_gb: int
) -> None:
    assert canonical("vastai", raw_name, ram_mb) == Gpu(name=name, vram_gb=vram_gb, known=True)


@pytest.mark.parametrize(
    ("raw_name", "name", "vram_gb"),
    [
        ("geforcertx4090-pcie-24gb", "RTX 4090", 24),
        ("geforcertx4070tisuper-pcie-16gb", "RTX 4070 Ti SUPER", 16),
        ("geforcertx3060tilhr-pcie-8gb", "RTX 3060 Ti", 8),
        ("geforecegt710-pcie-1gb", "GT 710", 1),
        ("rtxa6000-pcie-48gb", "RTX A6000", 48),
        ("rtx4000sffada-pcie-20gb", "RTX 4000 SFF Ada", 20),
        ("adartxa5000-pcie-32gb", "RTX 5000 Ada", 32),
        ("quadrortx6000-pcie-48gb", "Quadro RTX 6000", 48),
        ("teslam40-pcie-24gb", "M40", 24),
        ("v100-sxm3-32gb", "V100", 32),
        ("v100-nvlink-16gb", "V100", 16),
        ("a100-sxm4-80gb", "A100 SXM", 80),
        ("a100-nvlink-40gb", "A100 NVLink", 40),
        ("h100-sxm5-80gb", "H100 SXM", 80),
        ("NVIDIA GeForce RTX 4090 PCIe 24GB", "RTX 4090", 24),
        ("NVIDIA RTX 6000 ADA PCIe 48GB", "RTX 6000 Ada", 48),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM", 80),
    ],
)
def test_a_tensordock_name_tells_class_and_memory(raw_name: str, name: str, vram_gb: int) -> None:
    assert canonical("tensordock", raw_name, None) == Gpu(name=name, vram_gb=vram_gb, known=True)


def test_every_recorded_name_leads_to_its_class() -> None:
    if not RECORDED_NAMES.exists():
        pytest.skip("the recorded names of both marketplaces are not beside this checkout")
    rows = json.loads(RECORDED_NAMES.read_text(encoding="utf-8"))
    wrong = [
        (row["provider"], row["raw_name"], row["ram_mb"], gpu)
        for row in rows
        if (gpu := canonical(row["provider"], row["raw_name"], row["ram_mb"]))
        != Gpu(name=row["canonical"], vram_gb=row["vram_gb"], known=True)
    ]
    assert rows
    assert wrong == []


def test_every_recorded_vastai_name_is_searched_for() -> None:
    if not RECORDED_NAMES.exists():
        pytest.skip("the recorded names of both marketplaces are not beside this checkout")
    rows = json.loads(RECORDED_NAMES.read_text(encoding="utf-8"))
    recorded = {(row["raw_name"], row["canonical"]) for row in rows if row["provider"] == "vastai"}
    assert recorded
    assert {raw for raw, _ in recorded} <= set(all_vastai_names())
    assert [pair for pair in recorded if pair[0] not in vastai_names(pair[1])] == []


@pytest.mark.parametrize(
    ("raw_name", "ram_mb", "vram_gb"),
    [
        ("RTX 4090", 49140, 48),
        ("RTX 2080 Ti", 22528, 22),
        ("RTX 3080", 20480, 20),
        ("RTX 4080S", 32760, 32),
        ("RTX 3060 laptop", 12288, 12),
        ("CMP 170HX", 65536, 64),
    ],
)
def test_a_board_with_exchanged_memory_keeps_its_own_size(raw_name: str, ram_mb: int, vram_gb: int) -> None:
    assert canonical("vastai", raw_name, ram_mb).vram_gb == vram_gb


def test_a_stock_board_beside_it_keeps_the_stock_size() -> None:
    assert canonical("vastai", "RTX 2080 Ti", 10989).vram_gb == 11


def test_memory_nobody_sells_is_rounded() -> None:
    assert canonical("vastai", "RTX 4090", 36864).vram_gb == 36


def test_measured_memory_goes_before_a_size_in_the_name() -> None:
    assert canonical("vastai", "RTX 4090 24GB", 49140).vram_gb == 48


def test_a_size_in_the_name_goes_before_the_stock_size() -> None:
    assert canonical("tensordock", "geforcertx4090-pcie-48gb", None).vram_gb == 48


def test_untold_memory_is_the_stock_size_if_there_is_only_one() -> None:
    assert canonical("vastai", "L40", None).vram_gb == 48


@pytest.mark.parametrize("name", ["A100 PCIE", "Tesla M40", "RTX 5060 Ti"])
def test_untold_memory_stays_untold_if_the_product_had_several_sizes(name: str) -> None:
    assert canonical("vastai", name, None).vram_gb is None


@pytest.mark.parametrize("ram_mb", [0, -1, float("nan"), float("inf"), 10**400])
def test_absurd_memory_counts_as_untold(ram_mb: float) -> None:
    assert canonical("vastai", "RTX 4090", ram_mb).vram_gb == 24
    assert canonical("vastai", "RTX 7777", ram_mb).vram_gb is None


@pytest.mark.parametrize(
    ("raw_name", "name", "vram_gb"),
    [
        ("geforcertx7777-pcie-40gb", "RTX 7777", 40),
        ("geforcertx7777tisuper-pcie-40gb", "RTX 7777 Ti SUPER", 40),
        ("rtxpro7000-pcie-128gb", "RTX PRO 7000", 128),
        ("NVIDIA GeForce RTX 7777 PCIe 40GB", "RTX 7777", 40),
        ("NVIDIA RTX 7000 Ada Generation", "RTX 7000 Ada", None),
        ("RTX  7777_laptop", "RTX 7777 Laptop", None),
        ("b400-sxm7-300gb", "B400 SXM7", 300),
        ("B400 PCIE", "B400 PCIe", None),
        ("RX 6950 XT", "RX 6950 XT", None),
        ("P102-100", "P102-100", None),
        ("RTX 4090+", "RTX 4090+", None),
        ("A100 MIG 1g.10gb", "A100 MIG 1g.10gb", None),
        ("Imaginary RTX 9999", "Imaginary RTX 9999", None),
    ],
)
def test_an_unknown_name_stays_readable(raw_name: str, name: str, vram_gb: int | None) -> None:
    assert canonical("tensordock", raw_name, None) == Gpu(name=name, vram_gb=vram_gb, known=False)


def test_an_unknown_gpu_gets_the_marketed_size_above_its_memory() -> None:
    assert canonical("vastai", "RTX 7777", 48935).vram_gb == 48


@pytest.mark.parametrize("raw_name", [None, "", "   ", "_", "NVIDIA", "24GB", "\x00\n"])
def test_a_missing_name_is_unknown_but_keeps_its_memory(raw_name: str | None) -> None:
    assert canonical("vastai", raw_name, 24564) == Gpu(name=UNKNOWN_NAME, vram_gb=24, known=False)


def test_an_alias_of_the_other_marketplace_is_understood() -> None:
    assert canonical("tensordock", "RTX 4080S", None).name == "RTX 4080 SUPER"


@pytest.mark.parametrize(
    ("wanted", "gpu_name"),
    [
        ("RTX_4090", "RTX 4090"),
        ("rtx 4090", "RTX 4090"),
        ("rtx4090", "RTX 4090"),
        (" RTX   4090 ", "RTX 4090"),
        ("rtx-4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("geforcertx4090-pcie-24gb", "RTX 4090"),
        ("RTX 4080S", "RTX 4080 SUPER"),
        ("rtx 4070 tis", "RTX 4070 Ti SUPER"),
        ("RTX_4070S_Ti", "RTX 4070 Ti SUPER"),
        ("RTX 6000Ada", "RTX 6000 Ada"),
        ("Q_RTX_8000", "Quadro RTX 8000"),
        ("tesla v100", "V100"),
        ("V100 SXM2", "V100"),
        ("H200 SXM5", "H200"),
        ("A100", "A100 PCIe"),
        ("A100", "A100 SXM"),
        ("a100 80GB", "A100 NVLink"),
        ("a100sxm4", "A100 SXM"),
        ("H100", "H100 SXM"),
        ("H100", "H100 PCIe"),
        ("rtx7777", "RTX 7777"),
        ("B400", "B400 SXM7"),
        ("B400 SXM", "B400 SXM7"),
    ],
)
def test_a_users_spelling_means_the_class(wanted: str, gpu_name: str) -> None:
    assert matches(wanted, gpu_name)


@pytest.mark.parametrize(
    ("wanted", "gpu_name"),
    [
        ("RTX 4090", "RTX 4090D"),
        ("RTX 4090D", "RTX 4090"),
        ("RTX 4090", "RTX 4090 Laptop"),
        ("RTX 3090", "RTX 3090 Ti"),
        ("RTX 4080", "RTX 4080 SUPER"),
        ("RTX 4000", "RTX 4000 Ada"),
        ("RTX 4000 Ada", "RTX 4000 SFF Ada"),
        ("RTX A5000", "RTX 5000 Ada"),
        ("RTX 6000", "RTX A6000"),
        ("RTX PRO 6000", "RTX PRO 6000 Server"),
        ("H100", "H100 NVL"),
        ("H200", "H200 NVL"),
        ("H100 NVLink", "H100 PCIe"),
        ("A100", "A100X"),
        ("A100 SXM", "A100 PCIe"),
        ("A100 SXM", "A100"),
        ("A10", "A100 PCIe"),
        ("A10", "A10G"),
        ("L40", "L40S"),
        ("rtx", "RTX 4090"),
        ("", "RTX 4090"),
        ("", UNKNOWN_NAME),
        (UNKNOWN_NAME, UNKNOWN_NAME),
        ("RTX 7777", "RTX 7777 Ti"),
    ],
)
def test_a_neighbouring_spelling_does_not_mean_the_class(wanted: str, gpu_name: str) -> None:
    assert not matches(wanted, gpu_name)


def test_a_size_in_the_wanted_name_must_be_the_offered_one() -> None:
    assert matches("A100 80GB", "A100 SXM", 80)
    assert not matches("A100 80GB", "A100 SXM", 40)


def test_a_wanted_name_without_a_size_takes_any() -> None:
    assert matches("A100", "A100 SXM", 40)
    assert matches("A100", "A100 SXM", None)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("RTX 4090", ("RTX 4090",)),
        ("RTX 4080 SUPER", ("RTX 4080S",)),
        ("rtx_4070_ti_super", ("RTX 4070S Ti",)),
        ("RTX 6000 Ada", ("RTX 6000Ada",)),
        ("Quadro RTX 8000", ("Q RTX 8000",)),
        ("RTX 3060 Laptop", ("RTX 3060 laptop",)),
        ("RTX PRO 6000 Workstation", ("RTX PRO 6000 WS", "RTX PRO 6000 WK")),
        ("V100", ("Tesla V100",)),
        ("A100", ("A100 SXM4", "A100 SXM", "A100 PCIE")),
        ("A100 PCIe", ("A100 PCIE",)),
        ("H100", ("H100 SXM", "H100 PCIE")),
        ("A100 NVLink", ()),
        ("RTX 7777", ("RTX 7777",)),
        ("RTX 7777 SUPER", ("RTX 7777S", "RTX 7777 SUPER")),
        ("", ()),
    ],
)
def test_a_vastai_search_gets_the_names_vastai_uses(wanted: str, names: tuple[str, ...]) -> None:
    assert vastai_names(wanted) == names


def test_all_vastai_names_are_sorted_without_repeats_and_each_is_known() -> None:
    names = all_vastai_names()
    assert list(names) == sorted(set(names))
    assert [name for name in names if not canonical("vastai", name, None).known] == []


def test_each_vastai_name_leads_back_to_the_gpu_it_was_made_from() -> None:
    pairs = [(name, raw) for name in STOCK_GB for raw in vastai_names(name)]
    assert [pair for pair in pairs if not matches(pair[0], canonical("vastai", pair[1], None).name)] == []


@pytest.mark.parametrize("spelling", ["{}", "NVIDIA {}", "{} GPU", "_{}_"])
@pytest.mark.parametrize("change", [str, str.lower, str.upper, lambda name: name.replace(" ", "_")])
def test_each_canonical_name_in_other_dress_means_itself(spelling: str, change: Callable[[str], str]) -> None:
    wrong = {
        name: gpu
        for name in STOCK_GB
        if (gpu := canonical("tensordock", change(spelling.format(name)), None)).name != name or not gpu.known
    }
    assert wrong == {}


def test_no_two_canonical_names_mean_each_other_unless_the_bus_is_open() -> None:
    pairs = {(one, other) for one in STOCK_GB for other in STOCK_GB if one != other and matches(one, other)}
    assert pairs == {
        ("A100", "A100 SXM"),
        ("A100", "A100 PCIe"),
        ("A100", "A100 NVLink"),
        ("A800", "A800 PCIe"),
        ("H100", "H100 SXM"),
        ("H100", "H100 PCIe"),
    }


def test_the_table_uses_marketed_sizes_and_its_own_names() -> None:
    assert {size for sizes in STOCK_GB.values() for size in sizes} <= set(MARKETED_GB)
    assert list(MARKETED_GB) == sorted(set(MARKETED_GB))
    assert set(VASTAI_NAMES) | set(TENSORDOCK_NAMES) <= set(STOCK_GB)


@pytest.mark.parametrize("bus", [" PCIe", " SXM", " NVLink"])
def test_a_product_told_apart_by_bus_is_in_the_table_without_one_too(bus: str) -> None:
    members = [name for name in STOCK_GB if name.endswith(bus)]
    assert members
    assert [name for name in members if name.removesuffix(bus) not in STOCK_GB] == []


@pytest.mark.parametrize("vram_gb", MARKETED_GB)
def test_usable_mb_lies_below_what_any_board_of_the_size_reports(vram_gb: int) -> None:
    assert usable_mb(vram_gb) < 0.9326 * vram_gb * 1024


def test_usable_mb_lies_above_the_size_below() -> None:
    assert usable_mb(24) == 22609
    assert usable_mb(24) > 22 * 1024


@given(provider=st.sampled_from(["vastai", "tensordock", "other"]), raw_name=any_names, ram_mb=any_memory)
def test_any_name_and_memory_give_a_gpu_whose_name_is_stable(
    provider: str, raw_name: str | None, ram_mb: float | None
) -> None:
    gpu = canonical(provider, raw_name, ram_mb)
    assert 0 < len(gpu.name) <= NAME_CHARS_MAX
    assert gpu.name == " ".join(gpu.name.split())
    assert gpu.name.isprintable()
    assert gpu.vram_gb is None or gpu.vram_gb > 0
    again = canonical(provider, gpu.name, ram_mb)
    assert (again.name, again.known) == (gpu.name, gpu.known)


@given(wanted=st.one_of(st.text(), names_like_real_ones), gpu_name=st.one_of(st.text(), names_like_real_ones))
def test_any_wish_is_answered_and_every_named_gpu_matches_itself(wanted: str, gpu_name: str) -> None:
    matches(wanted, gpu_name)
    vastai_names(wanted)
    assert matches(wanted, wanted) == (canonical("", wanted, None).name != UNKNOWN_NAME)

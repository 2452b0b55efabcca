"""Where the time of a packed epoch goes, against the floor that the arithmetic sets.

    python benchmarks/epoch_profile.py [--dataset ml-100k] [--key=value ...]

The floor is the number of floating-point operations in the epoch's matrix products, counted by torch, divided by
the rate that this machine reaches on a large square product.
"""

from __future__ import annotations

import argparse
from time import perf_counter

import torch
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed
from tabulate import tabulate
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

import recbole_clia  # noqa: F401  RecBole does not import without it
from recbole_clia.cli.train import parse_settings
from recbole_clia.settings.config import PluginConfig

KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "addmm_", "baddbmm", "_scaled_dot_product", "_efficient_attention"),
    "random numbers": ("bernoulli_", "normal_", "uniform_"),
    "exponentials": ("exp_", "exp", "tanh", "sigmoid", "softplus", "log", "tanh_backward", "sigmoid_backward"),
    "gathering and copying": (
        "index",
        "_index_put_impl_",
        "embedding",
        "copy_",
        "cat",
        "clone",
        "gather",
        "masked_select",
    ),
}


def matrix_rate(size: int = 2048, times: int = 5) -> float:
    """Floating-point operations a second of a large square product."""
    a, b = torch.randn(2, size, size)
    a @ b
    began = perf_counter()
    for _ in range(times):
        a @ b
    return 2 * size**3 * times / (perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="ml-100k")
    arguments, rest = parser.parse_known_args()
    settings = {"state": "ERROR", "show_progress": False, **parse_settings(rest)}
    config = PluginConfig("CLIA", arguments.dataset, config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    train = data_preparation(config, create_dataset(config))[0]
    model = get_model("CLIA")(config, train._dataset)
    trainer = get_trainer(config["MODEL_TYPE"], "CLIA")(config, model)

    trainer._train_epoch(train, 0)
    began = perf_counter()
    trainer._train_epoch(train, 1)
    seconds = perf_counter() - began
    began = perf_counter()
    positions = sum(batch["item_id_list"].numel() for batch in train)
    loading = perf_counter() - began
    with FlopCounterMode(display=False) as counter:
        trainer._train_epoch(train, 2)
    rate = matrix_rate()
    floor = counter.get_total_flops() / rate
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        trainer._train_epoch(train, 3)
    spent = dict.fromkeys([*KINDS, "the rest"], 0.0)
    for event in profiled.key_averages():
        name = event.key.removeprefix("aten::")
        kind = next((k for k, names in KINDS.items() if name.startswith(names) and name in names), "the rest")
        spent[kind] += event.self_cpu_time_total / 1e6
    whole = sum(spent.values())

    pairs, threads = len(train._dataset), torch.get_num_threads()
    print(f"{pairs:,} pairs in {positions:,} positions, {len(train)} batches, {threads} threads")
    print(f"an epoch: {seconds:.2f} s; loading its batches: {loading:.2f} s")
    print(f"floor: {counter.get_total_flops() / 1e9:.0f} GFlop at {rate / 1e9:.0f} GFlop/s = {floor:.2f} s")
    print(tabulate([[k, s, 100 * s / whole] for k, s in spent.items()], ["", "s, profiled", "%"], floatfmt=".2f"))


if __name__ == "__main__":
    main()

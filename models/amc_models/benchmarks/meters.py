"""What a benchmark reads off: time of the device, rate of its matrix products, memory kept for the backward pass."""

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

GEMM_SIZE = {"cpu": 2048, "cuda": 8192}
DATASHEET_TFLOPS = {"H200": 989.4, "H100": 989.4, "A100": 311.9, "A40": 149.7, "L40": 181.0}
"""Dense bfloat16 matrix products a second, by name of the GPU."""


class Lap(NamedTuple):
    """Time of one run, in seconds: of the process's CPU (between device events on a GPU), and on the wall."""

    device_s: float
    wall_s: float
    peak_mib: float | None = None
    """Largest memory allocated on a GPU meanwhile."""


def timed(run: Callable[[], object], device: torch.device) -> Lap:
    """Time `run`; on a GPU, until its last kernel has ended."""
    if device.type == "cpu":
        wall, start = time.perf_counter(), time.process_time()
        run()
        return Lap(time.process_time() - start, time.perf_counter() - wall)
    events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    wall = time.perf_counter()
    events[0].record()
    run()
    events[1].record()
    torch.cuda.synchronize(device)
    peak_mib = torch.cuda.max_memory_allocated(device) / 2**20
    return Lap(events[0].elapsed_time(events[1]) / 1000, time.perf_counter() - wall, peak_mib)


def matmul_rate(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> float:
    """Floating-point operations a second of one large matrix product here; the best of `repeats`."""
    size = GEMM_SIZE[device.type]
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    laps = [timed(lambda: a @ b, device) for _ in range(repeats + 1)]
    return 2 * size**3 / min(lap.device_s for lap in laps)


@contextmanager
def kept_for_backward(model: nn.Module) -> Iterator[dict[int, int]]:
    """Bytes of every storage that autograd keeps inside, by its address; weights and buffers of `model` left out."""
    # Whatever is counted or left out stays alive: a freed address would be given out again, to another tensor.
    alive = [tensor.detach() for tensor in (*model.parameters(), *model.buffers())]
    weights = {tensor.untyped_storage().data_ptr() for tensor in alive}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor.detach())
        # The tensor itself would hold the node that keeps it, and neither would ever be freed.
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept


def hardware(device: torch.device) -> str:
    """The processor, with its threads in use, or the GPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    facts = dict(line.replace("\t", "").split(":", 1) for line in reversed(lines) if ":" in line)
    name = facts.get("model name", platform.processor()).strip()
    family = f" family {facts['cpu family'].strip()}" if "cpu family" in facts else ""
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{name}{family} ({capability}), threads: {torch.get_num_threads()}"


def datasheet_flops(device: torch.device) -> float | None:
    """Peak bfloat16 operations a second of a known GPU; None for others and for a CPU."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return next((1e12 * peak for mark, peak in DATASHEET_TFLOPS.items() if mark in name), None)

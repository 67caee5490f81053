"""Accelerators by their makers' figures: what a roofline is drawn with.

Figures are dense bfloat16 and decimal (1 GB is 1e9 bytes), each from the page named beside it. No
JAX here.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Device:
    """One accelerator and how it is joined to others of its kind.

    Attributes:
        name: what it is called on the command line.
        label: what people call it.
        peak: dense bfloat16 floating-point operations a second.
        memory: bytes of its own memory.
        bandwidth: bytes a second between that memory and the chip.
        link: bytes a second, one way, that one device can send round a ring of its group.
        group: devices that the fast links join: a node, or a pod.
        network: bytes a second, one way, for each device, beyond the group.
        source: where the figures come from.
    """

    name: str
    label: str
    peak: float
    memory: float
    bandwidth: float
    link: float
    group: int
    network: float
    source: str

    @property
    def ridge(self) -> float:
        """Operations a byte above which compute is the limit, below which memory is."""
        return self.peak / self.bandwidth


# NVIDIA states tensor-core peaks with 2:4 sparsity (1,979e12): dense is half. NVLink 4 is 900 GB/s,
# the sum of both ways. The network is one 400 Gb/s adapter a GPU, as in a DGX H100.
_NVIDIA = (
    "nvidia.com/en-us/data-center/{}: BFLOAT16 1,979 TFLOPS with sparsity, {}, NVLink 900 GB/s; "
    "network: DGX {} datasheet, 8 adapters of 400 Gb/s a node"
)
# Google states the links' sum of both ways over 4 ports; a ring uses 2 ports: a quarter, one way.
_GOOGLE = "docs.cloud.google.com/tpu/docs/{}: {}; data-centre network of a pod of 256: {}"

DEVICES: dict[str, Device] = {
    device.name: device
    for device in (
        Device(
            name="h100",
            label="NVIDIA H100 SXM",
            peak=989e12,
            memory=80e9,
            bandwidth=3.35e12,
            link=450e9,
            group=8,
            network=50e9,
            source=_NVIDIA.format("h100", "80 GB, 3.35 TB/s", "H100"),
        ),
        Device(
            name="h200",
            label="NVIDIA H200 SXM",
            peak=989e12,
            memory=141e9,
            bandwidth=4.8e12,
            link=450e9,
            group=8,
            network=50e9,
            source=_NVIDIA.format("h200", "141 GB, 4.8 TB/s", "H200"),
        ),
        Device(
            name="v5e",
            label="TPU v5e",
            peak=197e12,
            memory=16e9,
            bandwidth=819e9,
            link=100e9,
            group=256,
            network=3.125e9,
            source=_GOOGLE.format(
                "v5e",
                "197 TFLOPS, 16 GB, 819 GB/s, links 400 GB/s (1,600 Gb/s one way)",
                "6.4 Tb/s",
            ),
        ),
        Device(
            name="v6e",
            label="TPU v6e",
            peak=918e12,
            memory=32e9,
            bandwidth=1638e9,
            link=200e9,
            group=256,
            network=12.5e9,
            source=_GOOGLE.format(
                "v6e",
                "918 TFLOPS, 32 GB, 1,638 GB/s, links 800 GB/s",
                "25.6 Tb/s",
            ),
        ),
    )
}

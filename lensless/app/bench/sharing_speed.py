"""What sharing costs: a training step, memory, inference, and making it; each beside the plain network in one run."""

import functools
import multiprocessing
import pathlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lensless.app.bench.timing import compare, seconds
from lensless.app.screen import Screen
from lensless.app.version import code_version
from lensless.nn.preactivation import PreactivationNet
from lensless.sharing import SharedNetwork, share

BATCH, SIDE = 64, 32
TEMPLATES = ((4, 24, 128), (8, 24, 128))  # templates, layers, channels: where naive sums are slowest


def run(screen: Screen, device: torch.device) -> dict:
    """Measure, show, and return the figures."""
    found, rows = {}, []

    def tell(name: str, value: float, shown: str, promised: str) -> None:
        found[name] = value
        rows.append([name, shown, promised])
        screen.say(f"  {name}: {shown} (promised: {promised})")

    for name, network, channels in (("PreactivationNet, width 64", PreactivationNet(64, 2, 10, 3, 1), 3),):
        for method in ("cells", "superweights"):
            with screen.working(f"training steps of {name}, {method}"):
                ratio = step_ratio(network.to(device), method, channels, device)
            tell(f"training step, {method}", ratio, f"{ratio:.2f} times the plain one", "at most 1.15")
    shared = share(PreactivationNet(64, 2, 10, 3, 1), "25%").to(device).eval()
    plain, baked = PreactivationNet(64, 2, 10, 3, 1).to(device).eval(), shared.bake().eval()
    x = torch.rand(BATCH, 3, SIDE, SIDE, device=device)
    with torch.no_grad():
        with screen.working("inference"):
            ratio = 1 / compare(lambda: baked(x), lambda: plain(x), 15).ratio
        tell("baked inference", ratio, f"{ratio:.2f} times the plain one", "1.00")
    with screen.working("memory of a training step, in processes of their own"):
        plain_mib, shared_mib, made_mib = memory()
    ratio = (shared_mib - made_mib) / plain_mib
    shown = f"{ratio:.2f} times the plain one, and the weights ({plain_mib:.0f} and {shared_mib:.0f} MiB)"
    tell("peak memory", ratio, shown, "at most 1.15")
    with screen.working("sharing a ResNet-18"):
        taken = making_s()
    tell("share, 11.7 million parameters", taken, f"{taken:.1f} s", "under 5 s")
    for templates, layers, channels in TEMPLATES:
        ratio = naive_ratio(templates, layers, channels, device)
        what = f"{layers} layers of {channels} channels from {templates} templates"
        tell(what, ratio, f"{ratio:.1f} times as fast as a sum for each layer", "at least 3")
    screen.table("", ["", "found", "promised"], rows)
    return {"figures": found, "device": str(device), "threads": torch.get_num_threads(), "code": code_version()}


def step_ratio(network: nn.Module, method: str, channels: int, device: torch.device) -> float:
    """A training step of the shared network, in those of the plain one."""
    shared = share(network, "50%", method, seed=0)
    x = torch.rand(BATCH, channels, SIDE, SIDE, device=device)
    labels = torch.randint(10, (BATCH,), device=device)
    return 1 / compare(_step(shared, x, labels), _step(network, x, labels), 15).ratio


def _step(network: nn.Module, x: Tensor, labels: Tensor):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    network.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(network(x), labels).backward()
        optimizer.step()

    return step


def memory() -> tuple[float, float, float]:
    """Peak MiB of a training step of the plain network and of the shared one, above what importing takes, and MiB of
    the weights that are made."""
    spawn = multiprocessing.get_context("spawn")
    found = []
    for budget in (None, "25%"):
        with spawn.Pool(1) as pool:
            found.append(pool.apply(_peak_mib, (budget,)))
    made = sum(parameter.numel() for parameter in PreactivationNet(64, 2, 10, 3, 1).parameters()) * 4 / 2**20
    return found[0], found[1], made


def _peak_mib(budget: str | None) -> float:
    network = PreactivationNet(64, 2, 10, 3, 1)
    if budget is not None:
        network = share(network, budget)
    x, labels = torch.rand(BATCH, 3, SIDE, SIDE), torch.randint(10, (BATCH,))
    step, before = _step(network, x, labels), _status_mib("VmRSS")
    for _ in range(3):
        step()
    return _status_mib("VmHWM") - before


def _status_mib(name: str) -> float:
    """A figure of this process from /proc; what getrusage calls the peak may be that of who started it."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def making_s() -> float:
    """Seconds to share a torchvision ResNet-18, without making it."""
    from torchvision.models import resnet18

    network = resnet18()
    return min(seconds(functools.partial(share, network, "25%", seed=0)) for _ in range(2))


class _Equal(nn.Module):
    """Layers of one shape, of which only the weights matter."""

    def __init__(self, layers: int, channels: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(channels, channels, 3, bias=False) for _ in range(layers))


def naive_ratio(templates: int, layers: int, channels: int, device: torch.device) -> float:
    """Making all weights and their gradients, beside a sum of templates for each layer."""
    # Two more layers: the first and the last one stay private.
    shared: SharedNetwork = share(_Equal(layers + 2, channels).to(device), "100%", "soft", templates=templates)
    bank = torch.randn(templates, channels, channels, 3, 3, device=device, requires_grad=True)
    rows = torch.randn(layers, templates, device=device, requires_grad=True)
    gradient = torch.randn(channels, channels, 3, 3, device=device)

    def ours() -> None:
        made = list(shared.materialise().values())
        torch.autograd.backward(made, [gradient] * len(made))

    def naive() -> None:
        made = [(bank * row[:, None, None, None, None]).sum(0) for row in rows]
        torch.autograd.backward(made, [gradient] * len(made))

    return compare(ours, naive, 5).ratio

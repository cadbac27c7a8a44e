"""A forward model that is smooth almost everywhere: few modes for the whole sensor, and blocks for what is not smooth.

    y = U (V x) + the blocks' part,      U (H' W', r),  V (r, H W)

A block is a rectangle of pixels that sees a rectangle of the scene otherwise than U V says: A - U V there.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from lensless.optics.operator import GRAM_FLOOR, ForwardModel, roots

_LARGE = 2**21  # numbers; smaller results come from memory that was in use before
_MOST_NODES = 16  # of the interpolation, along each side of the scene


class Block(nn.Module):
    """What is added to y[rows, columns] from x[scene_rows, scene_columns]; all are slices.

    The matrix is (pixels of the block, scene pixels of the block), or, where `left` is there, the product of both.
    """

    def __init__(self, rows: slice, columns: slice, scene_rows: slice, scene_columns: slice, right: Tensor, left=None):
        super().__init__()
        self.pixels, self.scene = (slice(None), rows, columns), (slice(None), scene_rows, scene_columns)
        self.register_buffer("right", right, persistent=False)
        self.register_buffer("left", left, persistent=False)

    @property
    def matrix(self) -> Tensor:
        return self.right if self.left is None else self.left @ self.right

    @property
    def products(self) -> int:
        """Multiplications for one scene."""
        return self.right.numel() + (0 if self.left is None else self.left.numel())

    def add(self, scenes: Tensor, planes: Tensor) -> None:
        """From (N, H, W) to (N, H', W'), in place."""
        part = scenes[self.scene].flatten(1) @ self.right.T
        target = planes[self.pixels]
        target += (part if self.left is None else part @ self.left.T).view(target.shape)

    def add_adjoint(self, planes: Tensor, scenes: Tensor) -> None:
        part = planes[self.pixels].flatten(1)
        target = scenes[self.scene]
        target += ((part if self.left is None else part @ self.left) @ self.right).view(target.shape)

    def compressed(self, tolerance: float) -> "Block":
        """The same with a truncated decomposition that errs by `tolerance` (Frobenius), if that halves the work."""
        matrix = self.right.double()
        wide = matrix.shape[0] <= matrix.shape[1]
        squares, vectors = torch.linalg.eigh(matrix @ matrix.T if wide else matrix.T @ matrix)
        rank = int((squares.clamp_min(0).cumsum(0) > tolerance**2).sum())
        if rank * sum(matrix.shape) > matrix.numel() / 2:
            return self
        vectors = vectors[:, len(squares) - rank :]
        left, right = (vectors, vectors.T @ matrix) if wide else (matrix @ vectors, vectors.T)
        return Block(*self.pixels[1:], *self.scene[1:], right.contiguous(), left.contiguous())


class StructuredModel(ForwardModel):
    """y = U (V x) + blocks; the pixels of the blocks do not overlap.

    Args:
        U, V: (H' W', r) and (r, H W).
        blocks: what departs from it.
    """

    def __init__(self, U: Tensor, V: Tensor, blocks: list[Block], scene_shape, sensor_shape):
        super().__init__(scene_shape, sensor_shape)
        self.register_buffer("U", U, persistent=False)
        self.register_buffer("V", V, persistent=False)
        self.blocks = nn.ModuleList(blocks)

    @property
    def products(self) -> int:
        """Multiplications for one scene; a dense matrix takes H' W' H W."""
        return self.U.numel() + self.V.numel() + sum(block.products for block in self.blocks)

    def A(self, x: Tensor) -> Tensor:
        flat = self._flat_scene(x).flatten(0, 1)
        y = _product(flat @ self.V.T, self.U.T)
        planes, scenes = y.unflatten(1, self.sensor_shape), flat.unflatten(1, self.scene_shape)
        for block in self.blocks:
            block.add(scenes, planes)
        return y.reshape(*x.shape[:2], *self.sensor_shape)

    def A_adjoint(self, y: Tensor) -> Tensor:
        flat = self._flat_measurement(y).flatten(0, 1)
        x = (flat @ self.U) @ self.V
        planes, scenes = flat.unflatten(1, self.sensor_shape), x.unflatten(1, self.scene_shape)
        for block in self.blocks:
            block.add_adjoint(planes, scenes)
        return x.reshape(*y.shape[:2], *self.scene_shape)

    def as_matrix(self) -> Tensor:
        matrix = self.U @ self.V
        planes = matrix.view(*self.sensor_shape, *self.scene_shape)
        for block in self.blocks:
            target = planes[block.pixels[1:] + block.scene[1:]]
            target += block.matrix.view(target.shape)
        return matrix.clamp_(min=0)  # light is not negative, and rounding may be

    def rows(self, pixels: Tensor) -> Tensor:
        matrix = self.U[pixels] @ self.V
        row, column = pixels // self.sensor_shape[1], pixels % self.sensor_shape[1]
        for block in self.blocks:
            _, rows, columns = block.pixels
            inside = (row >= rows.start) & (row < rows.stop) & (column >= columns.start) & (column < columns.stop)
            if inside.any():
                own = (row[inside] - rows.start) * (columns.stop - columns.start) + column[inside] - columns.start
                part = block.right[own] if block.left is None else block.left[own] @ block.right
                matrix[inside[:, None] & self._scene_of(block)] += part.flatten()
        return matrix.clamp_(min=0)

    def _scene_of(self, block: Block) -> Tensor:
        """Which scene pixels a block reads, (H W,)."""
        mask = torch.zeros(self.scene_shape, dtype=torch.bool, device=self.V.device)
        mask[block.scene[1:]] = True
        return mask.flatten()

    def gram(self, weights: Tensor | None = None) -> Tensor:
        U, V = self.U.double(), self.V.double()
        weighted = U if weights is None else U * weights.double()[:, None]
        total = V.T @ (weighted.T @ U) @ V
        planes = weighted.unflatten(0, self.sensor_shape)
        share = None if weights is None else weights.double().unflatten(0, self.sensor_shape)
        for block in self.blocks:
            seen = torch.nonzero(self._scene_of(block)).squeeze(1)
            matrix, where = block.matrix.double(), block.pixels[1:]
            across = (matrix.T @ planes[where].flatten(0, 1)) @ V  # (scene pixels of the block, H W)
            total[seen] += across
            total[:, seen] += across.T
            own = matrix if share is None else matrix * share[where].flatten()[:, None]
            total[seen[:, None], seen] += matrix.T @ own
        return (total + total.T) / 2

    def singular_values(self) -> Tensor:
        if self.U.shape[0] < self.V.shape[1]:
            return super().singular_values()
        return roots(self.gram())

    def svd(self, rank: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        if self.U.shape[0] < self.V.shape[1]:
            return super().svd(rank)
        squares, vectors = torch.linalg.eigh(self.gram())
        s = squares.flip(0).clamp_min(0).sqrt()
        keep = min(int((s > GRAM_FLOOR * s[0]).sum()), len(s) if rank is None else rank)
        s, V = s[:keep].to(self.V.dtype), vectors.flip(1)[:, :keep].to(self.V.dtype)
        U = self.A((V / s).T.reshape(-1, 1, *self.scene_shape)).flatten(1).T
        return U.contiguous(), s, V.T.contiguous()


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b. On a CPU a large result lies in huge pages, which numpy asks for and torch does not: for 256 frames of
    240 x 240 the first touch then takes 5 ms and not 26, which is more than all the arithmetic (one machine's figures).
    """
    plain = a.device.type != "cpu" or a.dtype not in (torch.float32, torch.float64) or torch.is_autocast_enabled("cpu")
    if plain or len(a) * b.shape[1] < _LARGE or (torch.is_grad_enabled() and (a.requires_grad or b.requires_grad)):
        return a @ b
    room = np.empty((len(a), b.shape[1]), np.float32 if a.dtype == torch.float32 else np.float64)
    return torch.mm(a, b, out=torch.from_numpy(room))


def interpolated(
    kernel: Callable[[Tensor, Tensor, Tensor], Tensor],
    pixels: int,
    places: tuple[Tensor, Tensor],
    weights: Tensor,
    tolerance: float,
    seed: int = 0,
) -> tuple[Tensor, Tensor] | None:
    """U, V with U V = `kernel` between all pixels and scene pixels, float64; None where that is not of low rank.

    The kernel is interpolated in the coordinates of the scene, between m x m Chebyshev nodes: m grows until entries at
    random agree. What is left are orthonormal rows V in the order of their weight.

    Args:
        kernel: of flat indices of n pixels and the coordinates y, x of m points: (n, m).
        pixels: how many there are.
        places: of the nodes of a quadrature over each scene pixel, y (H, k) and x (W, k).
        weights: (k,) of these nodes, which sum to 1.
        tolerance: of entries, relative to the largest one.
        seed: of the entries that are looked at.
    """
    y, x = places
    scene_pixels = len(y) * len(x)
    centres, halves = zip(*(((p.max() + p.min()) / 2, (p.max() - p.min()) / 2) for p in places), strict=True)
    draw = torch.Generator().manual_seed(seed)
    some = torch.randint(pixels, (64,), generator=draw).to(y.device)
    some[:2] = torch.tensor([0, pixels - 1])
    i, k, j, n = (torch.randint(count, (256,), generator=draw).to(y.device) for count in (*y.shape, *x.shape))
    some_y, some_x = y[i, k], x[j, n]
    true = kernel(some, some_y, some_x)
    for m in range(3, _MOST_NODES + 1):
        nodes = torch.cos((torch.arange(m, dtype=y.dtype, device=y.device) + 0.5) * (torch.pi / m))
        sides = [centre + half * nodes for centre, half in zip(centres, halves, strict=True)]
        node_y, node_x = (a.flatten() for a in torch.meshgrid(*sides, indexing="ij"))

        def basis(places: Tensor, side: int, m: int = m) -> Tensor:
            t = (places - centres[side]) / halves[side].clamp_min(torch.finfo(y.dtype).tiny)
            return _lagrange(t, m)

        found = kernel(some, node_y, node_x) @ (basis(some_y, 0)[:, None] * basis(some_x, 1)).flatten(0, 1)
        if not (found - true).abs().max() <= tolerance * true.abs().max():
            continue
        C = torch.cat([kernel(piece, node_y, node_x) for piece in torch.arange(pixels, device=y.device).split(4096)])
        rows, columns = (basis(p, side) @ weights for side, p in enumerate(places))  # (m, H), (m, W)
        B = (rows[:, None, :, None] * columns[None, :, None, :]).reshape(m * m, scene_pixels)
        return _recompressed(C, B, tolerance)
    return None


def _lagrange(t: Tensor, m: int) -> Tensor:
    """Lagrange's polynomials of the m Chebyshev nodes at t in [-1, 1]: (...) -> (m, ...)."""
    degrees = torch.arange(m, dtype=t.dtype, device=t.device)
    at_nodes = torch.cos(torch.outer((degrees + 0.5) * (torch.pi / m), degrees)) * (2 / m)
    at_nodes[:, 0] /= 2
    polynomials = torch.cos(degrees.reshape(-1, *[1] * t.ndim) * torch.acos(t.clamp(-1, 1)))
    return torch.tensordot(at_nodes, polynomials, 1)


def _recompressed(C: Tensor, B: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """C B as U V of the least rank that errs by `tolerance` of its norm."""
    left, upper = torch.linalg.qr(C)
    right, lower = torch.linalg.qr(B.T)
    W, s, Zh = torch.linalg.svd(upper @ lower.T, full_matrices=False)
    rank = int((s > tolerance * s[0]).sum())
    return left @ (W[:, :rank] * s[:rank]), Zh[:rank] @ right.T

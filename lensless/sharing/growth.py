"""Growing: two trained half networks become one, with connections between them (Pham et al., WACV 2024, arXiv 2311.04251).

Both halves run at once, one behind the other in the batch: what works on each sample alone (activations, pooling,
concatenation, resizing) needs no change, and every norm sees the numbers that it saw before. A layer of halves a and b is

    [y_a]   [W_a   C_ab] [x_a]
    [y_b] = [C_ba  W_b ] [x_b]

in which each C mixes the templates that its outputs' half already has. With C = 0 the grown network gives just what the
two halves give together.
"""

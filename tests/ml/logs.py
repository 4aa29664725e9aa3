"""A small world with a known truth: visitors and creatives with vectors, clicks by their affinity."""

import numpy as np

from ml.schema import ImpressionLog

DAY = 86_400.0
START = 1_700_006_400.0  # a midnight, UTC


def world(*, rows: int = 12_000, days: int = 8, seed: int = 0, affinity: float = 8.0) -> tuple:
    """(log, U, V, u_index, v_index); visitors differ in how readily they click, creatives in how good they are."""
    rng = np.random.default_rng(seed)
    U, V = unit(rng.normal(size=(300, 16))), unit(rng.normal(size=(40, 16)))
    u, v = rng.integers(0, len(U), rows), rng.integers(0, len(V), rows)
    time = START + np.sort(rng.random(rows)) * days * DAY
    readiness, quality = rng.normal(size=len(U)) * 0.8, rng.normal(size=len(V)) * 0.6
    log_odds = -2.2 + affinity * (U[u] * V[v]).sum(1) / 2 + readiness[u] + quality[v]
    clicked = rng.random(rows) < 1 / (1 + np.exp(-log_odds))
    log = ImpressionLog(
        time=time,
        click_time=np.where(clicked, time + rng.exponential(60, rows), np.nan),
        creative=v,
        line_item=v // 4,
        slot=rng.integers(0, 5, rows),
        visitor=np.where(rng.random(rows) < 0.1, None, u.astype(object)),
        context={"hour": np.floor(time / 3_600) % 24, "device": rng.integers(0, 3, rows).astype(float)},
    )
    return log, U, V, u, v


def unit(vectors: np.ndarray) -> np.ndarray:
    """float32 rows of length 1."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

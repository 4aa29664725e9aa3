"""Whether the process lives, whether it is ready, and its figures."""

from __future__ import annotations

from adplatform.core import clock
from adplatform.core.http import Environ, Response

from .. import process
from .answers import NO_STORE, encode


def livez(_: Environ, __: str) -> Response:
    return Response(200, b'{"status":"ok"}', headers=NO_STORE)


def readyz(_: Environ, __: str) -> Response:
    """Ready when there is a snapshot to serve from and events can be stored."""
    serving = process.server()
    snapshot = serving.snapshot
    state = {
        "snapshot": snapshot.version if snapshot else None,
        "events": serving.stream.is_up(),
        "status": "ok" if snapshot else "no snapshot",
    }
    return Response(200 if snapshot else 503, encode(state), headers=NO_STORE)


def metrics(_: Environ, __: str) -> Response:
    serving = process.server()
    snapshot, now = serving.snapshot, clock.now()
    gauges = {
        "adplatform_snapshot_age_seconds": (now - snapshot.built_at).total_seconds() if snapshot else -1.0,
        "adplatform_snapshot_ads": float(len(snapshot.candidates)) if snapshot else 0.0,
        "adplatform_snapshots_refused": float(serving.snapshots.refused),
        "adplatform_statistics_age_seconds": now.timestamp() - serving.statistics_at,
        "adplatform_counters_age_seconds": now.timestamp() - serving.statistics.view.until,
        "adplatform_decisions_waiting": float(serving.stream.waiting),
        "adplatform_decisions_dropped": float(serving.stream.dropped),
        "adplatform_events_spooled": float(serving.stream.spooled),
        "adplatform_spool_bytes": float(serving.stream.spool_bytes),
        "adplatform_decisions_in_line": float(serving.admission.waiting),
        "adplatform_models_slow": float(serving.model_rest.slow),
        "adplatform_valkey_failures": float(serving.visitors.failures),
        **serving.leases.gauges,
    }
    return Response(200, serving.metrics.text(gauges).encode(), "text/plain; version=0.0.4", NO_STORE)

"""What `manage.py doctor` looks at, in this order: one small function per question."""

from __future__ import annotations

from adplatform.core.doctor import machine, running, stores
from adplatform.core.doctor.finding import Check

CHECKS = (
    Check("servers", stores.servers),
    Check("python", machine.python),
    Check("packages", machine.packages),
    Check("disk", machine.disk),
    Check("memory", machine.memory),
    Check("ports", machine.ports),
    Check("postgres", stores.postgres),
    Check("migrations", stores.migrations),
    Check("database roles", stores.database_roles),
    Check("hot store", stores.hot_store),
    Check("event store", stores.event_store),
    Check("encoder", machine.encoder),
    Check("gpu", machine.gpu),
    Check("models", running.models),
    Check("workers", running.workers),
    Check("snapshot", running.snapshot),
    Check("counters", running.counters),
    Check("budget leases", running.leases),
    Check("beat", running.beat),
)

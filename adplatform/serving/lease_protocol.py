"""The protocol of budget leases in Valkey: keys, scripts, and what each of them promises. No Django here.

PostgreSQL is the truth: a worker writes what each campaign may still be charged (`granting`), serving processes take
slices of that and spend them (`leases`). What a campaign has left is divided into

    left = available + leases of processes + what was spent and may not be billed yet

and `available` is never stored: it is what remains of `left`, so the sum holds whatever happens. What was spent is kept by
the stretch in which it was served, and so is what PostgreSQL has charged of it: the part that was charged is off `left`
already and waits no more. Charges of a stretch beyond what was told of it (clicks that came more often than expected, a
process that has not told yet) set nothing else free. Keys:

    {leases}:epoch      number, run (the life of this server), serial, until (milliseconds since 1970: what was spent
                        before is billed or never will be), at (of the last renewal), waiting (processes that may hold
                        leases of the epoch before), leased, left (sums of all campaigns)
    {leases}:processes  zset: name@epoch → milliseconds since 1970 of the last beat
    {leases}:dead       names that were struck off and whose leases are being taken back
    lease:{campaign}    left, size (of the budget), e (epoch), p:{name} (a process's lease), u:{stretch} (micros spent of
                        what was served in a stretch of `campaigns.stretches`), c:{stretch} (charged of these)

An epoch is worth something in the life of the server that it was opened in alone: a Valkey that was restarted, restored
or taken over by a replica has another run id, and gives nothing until the worker has opened a new epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import redis

from adplatform.core.line import Line, packed

EPOCH_KEY, PROCESSES_KEY, DEAD_KEY = "{leases}:epoch", "{leases}:processes", "{leases}:dead"
TTL_SECONDS = 30.0  # without a beat for so long a process spends nothing
MARGIN_SECONDS = 10.0  # after which the worker takes its leases back: no clock is off by so much
# After it most of what was served is billed; what comes later is billed, too, while money is left.
PENDING_SECONDS = 20.0
MOST_MICROS = 2**50  # Lua counts exactly up to 2**53
_KEPT_SECONDS = 3 * 86_400
TOGETHER = 50  # campaigns in one call: a visitor's trip that comes in between waits for a millisecond at most

_RUN = "local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')\n"

# KEYS: epoch, processes. ARGV: name, epoch that it joined (0: none).
# Answers number, run, until, processes, is_known. A process that does not know the epoch joins it, with no leases.
_BEAT = (
    _RUN
    + """
local state = redis.call('HMGET', KEYS[1], 'number', 'run', 'until')
local time = redis.call('TIME')
local now, number, old = time[1] * 1000 + math.floor(time[2] / 1000), state[1], ARGV[1] .. '@' .. ARGV[2]
local member = redis.call('ZSCORE', KEYS[2], old)
local known = 0
if not number or state[2] ~= run then
  if member then redis.call('ZADD', KEYS[2], now, old) end
  return {'0', '', '0', '0', 0}
elseif ARGV[2] == number then
  if member then redis.call('ZADD', KEYS[2], now, old) known = 1 end
else
  redis.call('ZREM', KEYS[2], old)
  redis.call('ZADD', KEYS[2], now, ARGV[1] .. '@' .. number)
  known = 1
end
return {number, run, state[3] or '0', tostring(redis.call('ZCARD', KEYS[2])), known}
"""
)

# Of a row: what was told as spent of each stretch, less what was charged of it.
_PENDING = """
local function pending_of(told, charged)
  local sum = 0
  for stretch, micros in pairs(told) do sum = sum + math.max(0, micros - (charged[stretch] or 0)) end
  return sum
end
"""

# KEYS: campaigns. ARGV: name@epoch, epoch, run, until, processes; then for each key: how many stretches it tells of, each
# with what was spent (not told yet), held (beyond that), least and most that one event may cost (most 0: the process gives
# up what it has).
# Answers the lease that each has from now on; -1: nothing is given here now. A lease never shrinks below what the process
# says it holds: whose answer gets lost has no more than Valkey knows of. What would let nobody serve stays available.
_LEASE = (
    _RUN
    + _PENDING
    + """
local name, epoch, ends = 'p:' .. ARGV[1], ARGV[2], tonumber(ARGV[4])
local answers, at = {}, 5
for n, key in ipairs(KEYS) do
  local spent, count = 0, tonumber(ARGV[at + 1])
  for i = 1, count do
    local stretch, micros = ARGV[at + 2 * i], ARGV[at + 2 * i + 1]
    redis.call('HINCRBY', key, 'u:' .. stretch, micros)
    spent = spent + micros
  end
  at = at + 1 + 2 * count
  local held, least, most = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  at = at + 3
  local left, size, own, others, its, past, told, charged = 0, 0, 0, 0, '', {}, {}, {}
  local row = redis.call('HGETALL', key)
  for i = 1, #row, 2 do
    local field, value = row[i], row[i + 1]
    local kind, stretch = string.sub(field, 1, 2), string.sub(field, 3)
    if kind == 'p:' then
      if field == name then own = tonumber(value) else others = others + value end
    elseif kind == 'u:' or kind == 'c:' then
      if tonumber(stretch) < ends then past[#past + 1] = field
      elseif kind == 'u:' then told[stretch] = tonumber(value)
      else charged[stretch] = tonumber(value) end
    elseif field == 'left' then left = tonumber(value)
    elseif field == 'size' then size = tonumber(value)
    elseif field == 'e' then its = value end
  end
  if #past > 0 then redis.call('HDEL', key, unpack(past)) end
  if its ~= epoch or run ~= ARGV[3] then
    answers[n] = -1
  else
    local lease, free = 0, left - others - pending_of(told, charged)
    if most > 0 then
      local share = math.floor(math.min(size / 100, free / 25) / tonumber(ARGV[5]))
      lease = math.max(math.min(own - spent, held), math.min(math.max(share, 2 * most), free))
    end
    if lease < least then lease = 0 end
    if lease > 0 then redis.call('HSET', key, name, string.format('%.0f', lease))
    elseif row[1] then redis.call('HDEL', key, name) end
    answers[n] = lease
  end
end
return answers
"""
)

# KEYS: campaigns. ARGV: epoch, seconds to keep, number of dead names, the names; then for each key left, size, how many
# stretches were charged lately, each with its micros.
# Leases of another epoch and of the dead are void. Answers leases, spent and not billed, by key.
_GRANT = (
    _PENDING
    + """
local dead, at = {}, 3 + ARGV[3]
for n = 4, at do dead['p:' .. ARGV[n]] = true end
local answers = {}
for n, key in ipairs(KEYS) do
  local fields, charged = {'e', ARGV[1], 'left', ARGV[at + 1], 'size', ARGV[at + 2]}, {}
  local count = tonumber(ARGV[at + 3])
  for i = 1, count do
    local stretch, micros = ARGV[at + 2 + 2 * i], ARGV[at + 3 + 2 * i]
    charged[stretch] = tonumber(micros)
    fields[#fields + 1], fields[#fields + 2] = 'c:' .. stretch, micros
  end
  at = at + 3 + 2 * count
  local row, is_new = redis.call('HGETALL', key), redis.call('HGET', key, 'e') ~= ARGV[1]
  local leases, told, gone = 0, {}, {}
  for i = 1, #row, 2 do
    local kind, rest = string.sub(row[i], 1, 2), string.sub(row[i], 3)
    if kind == 'p:' then
      if is_new or dead[row[i]] then gone[#gone + 1] = row[i] else leases = leases + row[i + 1] end
    elseif kind == 'u:' then told[rest] = tonumber(row[i + 1])
    elseif kind == 'c:' and not charged[rest] then gone[#gone + 1] = row[i] end
  end
  if #gone > 0 then redis.call('HDEL', key, unpack(gone)) end
  redis.call('HSET', key, unpack(fields))
  redis.call('EXPIRE', key, ARGV[2])
  answers[n] = {leases, pending_of(told, charged)}
end
return answers
"""
)


def lease_key(campaign_id: int) -> str:
    """The hash of a campaign; the braces keep all of it on one node of a cluster."""
    return f"lease:{{{campaign_id}}}"


@dataclass(frozen=True, slots=True)
class Beat:
    """What Valkey says to a process that shows itself. `number` 0: there is no epoch in this life of the server.
    `is_known`: False where the process was struck off and its leases are void."""

    number: int
    run: str
    until: int
    processes: int
    is_known: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """What a process says of one campaign: `spent` since it last said so, micros by stretch; `held_micros` that it has
    beyond that; `least_micros` and `most_micros` that one event of its ads may cost; a most of 0 gives up what is held."""

    campaign_id: int
    spent: Mapping[int, int]
    held_micros: int
    least_micros: int
    most_micros: int

    @property
    def numbers(self) -> tuple[int, ...]:
        spent = chain.from_iterable(self.spent.items())
        return len(self.spent), *spent, self.held_micros, self.least_micros, self.most_micros


@dataclass(frozen=True, slots=True)
class Grant:
    """What a campaign may still be charged, how large its budget is, and what was charged lately: stretch, micros, ..."""

    campaign_id: int
    left_micros: int
    size_micros: int
    charged: tuple[int, ...] = ()

    @property
    def numbers(self) -> tuple[int, ...]:
        return self.left_micros, self.size_micros, len(self.charged) // 2, *self.charged


class Ledger:
    """The scripts as calls. Every call may be sent twice: a claim says what is held, not what is added; only spending
    that is told twice counts twice, until it is over, and that errs to the safe side."""

    def __init__(self, client: redis.Redis) -> None:
        self._line = Line(client)
        self._shas: dict[str, str] = {}

    def beat(self, name: str, epoch: int) -> Beat:
        (answer,) = self._run([(_BEAT, (EPOCH_KEY, PROCESSES_KEY), (name, epoch))])
        number, run, until, processes, known = answer
        return Beat(int(number), run.decode(), int(float(until)), int(processes), known == 1)

    def leave(self, name: str, epoch: int) -> None:
        self._line.ask(packed(("ZREM", PROCESSES_KEY, f"{name}@{epoch}")), 1)

    def claim(self, name: str, beat: Beat, claims: Sequence[Claim]) -> list[int]:
        """The lease that each claim has from now on, -1 where nothing is given."""
        head = (f"{name}@{beat.number}", beat.number, beat.run, beat.until, max(1, beat.processes))
        calls = [
            (
                _LEASE,
                tuple(lease_key(one.campaign_id) for one in some),
                head + tuple(number for one in some for number in one.numbers),
            )
            for some in _pieces(claims)
        ]
        return [lease for answer in self._run(calls) for lease in answer]

    def grant(self, epoch: int, grants: Sequence[Grant], dead: Sequence[str]) -> list[tuple[int, int]]:
        """(leased, spent and not billed) of each campaign after it was written."""
        head = (epoch, _KEPT_SECONDS, len(dead), *dead)
        calls = [
            (
                _GRANT,
                tuple(lease_key(one.campaign_id) for one in some),
                head + tuple(number for one in some for number in one.numbers),
            )
            for some in _pieces(grants)
        ]
        return [(int(leased), int(pending)) for answer in self._run(calls) for leased, pending in answer]

    def _run(self, calls: Sequence[tuple[str, tuple[str, ...], tuple[Any, ...]]]) -> list[Any]:
        """The scripts' answers, each in a trip of its own: others come in between."""
        return [self._call(*call) for call in calls]

    def _call(self, script: str, keys: tuple[str, ...], given: tuple[Any, ...]) -> Any:
        try:
            return self._ask(script, keys, given)
        except redis.exceptions.NoScriptError:  # the server is new, and so nothing was done yet
            self._shas.clear()
            return self._ask(script, keys, given)

    def _ask(self, script: str, keys: tuple[str, ...], given: tuple[Any, ...]) -> Any:
        (answer,) = self._line.ask(packed(("EVALSHA", self._sha(script), len(keys), *keys, *given)), 1)
        return answer

    def _sha(self, script: str) -> str:
        if script not in self._shas:
            (sha,) = self._line.ask(packed(("SCRIPT", "LOAD", script)), 1)
            self._shas[script] = sha.decode()
        return self._shas[script]


def _pieces(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[start : start + TOGETHER] for start in range(0, len(items), TOGETHER)]

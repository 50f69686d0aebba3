"""The metrics: counters of what runs did, gauges of what is pending. docs/metrics.md lists names, units, attributes."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, MeterProvider, Observation

from session_memory import telemetry
from session_memory.levels import Level
from session_memory.report import PersistReport

#: Seconds: from a session of a few turns to a night of thousands.
_DURATIONS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)

#: What the gauges tell, from the last time that somebody looked.
_levels: tuple[Level, ...] = ()

Value = Callable[[Level, datetime], float | None]


class _Instruments(NamedTuple):
    turns_persisted: Counter
    llm_calls: Counter
    llm_tokens: Counter
    duration: Histogram


def set_levels(levels: Sequence[Level]) -> None:
    """What the gauges tell from now on, in place of all that they told before."""
    global _levels
    _levels = tuple(levels)
    if telemetry.is_measured():
        _instruments(metrics.get_meter_provider())


def count(report: PersistReport) -> None:
    """Count what a run of `persist-sessions` did."""
    if not telemetry.is_measured():
        return
    to = _instruments(metrics.get_meter_provider())
    to.turns_persisted.add(report.turns_persisted)
    if report.model is not None:
        model = {"gen_ai.request.model": report.model}
        to.llm_calls.add(report.llm_calls, model)
        to.llm_tokens.add(report.tokens_in, {**model, "gen_ai.token.type": "input"})
        to.llm_tokens.add(report.tokens_out, {**model, "gen_ai.token.type": "output"})


def record_duration(flow: str, seconds: float, error_code: str | None) -> None:
    """Record how long a run of a flow took, and the code of what it failed with."""
    if not telemetry.is_measured():
        return
    error = {"error.type": error_code} if error_code else {}
    _instruments(metrics.get_meter_provider()).duration.record(seconds, {"session_memory.flow": flow, **error})


# Once a provider, and none for the API's stand-in, which would keep every instrument for a provider to come.
@cache
def _instruments(provider: MeterProvider) -> _Instruments:
    meter = provider.get_meter("session_memory")
    for name, unit, description, value in _GAUGES:
        meter.create_observable_gauge(name, [_observing(value)], unit, description)
    return _Instruments(
        turns_persisted=meter.create_counter(
            "session_memory.turns.persisted", "{turn}", "Turns that runs put into graphs"
        ),
        llm_calls=meter.create_counter("session_memory.llm.calls", "{call}", "LLM calls of runs, failed ones too"),
        llm_tokens=meter.create_counter("session_memory.llm.tokens", "{token}", "Tokens that the LLM said it used"),
        duration=meter.create_histogram(
            "session_memory.run.duration",
            "s",
            "How long runs took",
            explicit_bucket_boundaries_advisory=_DURATIONS,
        ),
    )


def _observing(value: Value) -> Callable[[CallbackOptions], Iterable[Observation]]:
    # Observed when they are sent: a process that lives on ages what it saw, and no longer tells of a dataset that went.
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        now = datetime.now(UTC)
        for level in _levels:
            if (number := value(level, now)) is not None:
                yield Observation(number, _attributes(level))

    return observe


def _attributes(level: Level) -> dict[str, str]:
    named = {"session_memory.dataset.id": level.dataset_id, "session_memory.dataset.name": level.dataset_name}
    return {key: value for key, value in named.items() if value is not None}


def _age(level: Level, now: datetime) -> float | None:
    if not level.turns:
        return 0.0
    return (now - level.oldest_turn_at).total_seconds() if level.oldest_turn_at else None


def _expiry(level: Level, now: datetime) -> float | None:
    return max(0.0, (level.expires_at - now).total_seconds()) if level.expires_at else None


_GAUGES: tuple[tuple[str, str, str, Value], ...] = (
    (
        "session_memory.turns.pending",
        "{turn}",
        "Turns that are not in their dataset yet",
        lambda level, _: level.turns,
    ),
    ("session_memory.turns.pending.age", "s", "Age of the oldest turn that is not in its dataset yet", _age),
    (
        "session_memory.turns.expiry",
        "s",
        "Time until the cache loses the first turn that is in no dataset and not frozen in the ledger",
        _expiry,
    ),
    (
        "session_memory.turns.quarantined",
        "{turn}",
        "Turns that the LLM refused, set apart",
        lambda level, _: level.quarantined,
    ),
)

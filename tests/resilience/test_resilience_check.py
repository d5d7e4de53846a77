import math
import pickle
from dataclasses import dataclass

import pytest

from archstone.errors import ConfigError
from archstone.resilience import Exponential, RateLimit, Retry, SettingsError, Shed, check


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    failure_ratio: float = 0.5
    min_calls: int = 20

    def __post_init__(self) -> None:
        check(
            self,
            failure_ratio=(0 < self.failure_ratio <= 1, "in (0, 1]"),
            min_calls=(self.min_calls >= 1, "at least 1"),
        )


def test_all_faults_are_named_at_once_with_their_values() -> None:
    with pytest.raises(SettingsError) as raised:
        Breaker(failure_ratio=1.5, min_calls=0)
    assert str(raised.value) == "Breaker: failure_ratio=1.5 must be in (0, 1]; min_calls=0 must be at least 1"
    assert isinstance(raised.value, ConfigError)
    assert isinstance(raised.value, ValueError)
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


NAN, INF, TINY = math.nan, math.inf, 5e-324

ACCEPTED = [
    (Exponential, {"base_s": TINY, "cap_s": TINY}),
    (Exponential, {"factor": 1.0}),
    (Exponential, {"base_s": 10.0, "cap_s": 10.0}),
    (Retry, {"attempts": 1}),
    (Retry, {"total_s": TINY, "per_attempt_s": TINY, "patience_s": 0}),
    (Retry, {"patience_s": INF}),
    (Retry, {"on": ()}),
    (Retry, {"on": (Exception,)}),
    (RateLimit, {"rate_per_s": TINY}),
    (RateLimit, {"rate_per_s": 1, "burst": 1, "max_keys": 1}),
    (Shed, {"max_in_flight": 1, "reserve_ratio": 0}),
    (Shed, {"max_in_flight": 1, "reserve_ratio": 0.999, "max_lag_s": TINY, "retry_after_s": 0}),
]

REFUSED = [
    (Exponential, {"base_s": 0}, "base_s=0 must be above 0 and finite"),
    (
        Exponential,
        {"base_s": NAN},
        "base_s=nan must be above 0 and finite; cap_s=10.0 must be at least base_s and finite",
    ),
    (Exponential, {"factor": 0.999}, "factor=0.999 must be at least 1 and finite"),
    (Exponential, {"factor": INF}, "factor=inf must be at least 1 and finite"),
    (Exponential, {"base_s": 1.0, "cap_s": 0.9}, "cap_s=0.9 must be at least base_s and finite"),
    (Exponential, {"cap_s": INF}, "cap_s=inf must be at least base_s and finite"),
    (Retry, {"attempts": 0}, "attempts=0 must be at least 1"),
    (Retry, {"total_s": 0}, "total_s=0 must be above 0, or None"),
    (Retry, {"total_s": NAN}, "total_s=nan must be above 0, or None"),
    (Retry, {"per_attempt_s": -1}, "per_attempt_s=-1 must be above 0, or None"),
    (Retry, {"patience_s": NAN}, "patience_s=nan must be at least 0"),
    (Retry, {"on": (BaseException,)}, "on=(<class 'BaseException'>,) must be a tuple of Exception classes"),
    (Retry, {"on": ValueError}, "on=<class 'ValueError'> must be a tuple of Exception classes"),
    (RateLimit, {"rate_per_s": 0}, "rate_per_s=0 must be above 0 and finite"),
    (RateLimit, {"rate_per_s": NAN}, "rate_per_s=nan must be above 0 and finite"),
    (RateLimit, {"rate_per_s": INF}, "rate_per_s=inf must be above 0 and finite"),
    (RateLimit, {"rate_per_s": 1, "burst": 0.99}, "burst=0.99 must be at least 1 and finite"),
    (RateLimit, {"rate_per_s": 1, "max_keys": 0}, "max_keys=0 must be at least 1"),
    (Shed, {"max_in_flight": 0}, "max_in_flight=0 must be at least 1"),
    (Shed, {"max_in_flight": 1, "max_lag_s": 0}, "max_lag_s=0 must be above 0, or None"),
    (Shed, {"max_in_flight": 1, "max_lag_s": NAN}, "max_lag_s=nan must be above 0, or None"),
    (Shed, {"max_in_flight": 1, "reserve_ratio": 1}, "reserve_ratio=1 must be in [0, 1)"),
    (Shed, {"max_in_flight": 1, "reserve_ratio": -0.1}, "reserve_ratio=-0.1 must be in [0, 1)"),
    (Shed, {"max_in_flight": 1, "retry_after_s": INF}, "retry_after_s=inf must be at least 0 and finite"),
]


@pytest.mark.parametrize(("policy", "settings"), ACCEPTED)
def test_the_near_side_of_each_bound_is_accepted(policy: type, settings: dict) -> None:
    policy(**settings)


@pytest.mark.parametrize(("policy", "settings", "fault"), REFUSED)
def test_the_far_side_of_each_bound_is_refused(policy: type, settings: dict, fault: str) -> None:
    with pytest.raises(SettingsError) as raised:
        policy(**settings)
    assert str(raised.value).startswith(f"{policy.__name__}: {fault}")

"""What the log says of steps that fail."""

import io
import json

import pytest
from saga_cast import Depot, NoneLeft, Traveller, lost, opened

from archstone.observability import configure_logging
from archstone.resilience import Retry
from archstone.sagas import SagaSettings, StepFailedError, saga


@pytest.fixture
def lines():
    stream = io.StringIO()
    configure_logging("info", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    configure_logging("info")


class Unlucky(Traveller):
    @saga()
    async def bounded(self) -> str:
        return await self.step(self.depot.take, "hat", retry=Retry(5, total_s=1.0, on=(Exception,)), timeout_s=5)


async def test_each_failed_attempt_is_a_warning_that_says_when_the_next_one_is(tmp_path, lines):
    traveller = Traveller(Depot())
    traveller.depot.fail("take hat", lost(), lost())
    async with opened(tmp_path, traveller) as sagas:
        await sagas.run(traveller.journey, ("hat",), id="t1")
    seen = [line for line in lines() if line["event"] == "an attempt of a step failed"]
    assert [(line["level"], line["saga"], line["step"], line["operation"]) for line in seen] == [
        ("warning", "t1", "main/depot.take#1", "depot.take")
    ] * 2
    assert [(line["attempt"], line["attempts"], line["error"]) for line in seen] == [
        (1, 5, "RemoteError: the line is dead"),
        (2, 5, "RemoteError: the line is dead"),
    ]
    assert all(0 <= line["next_s"] <= 0.1 * line["attempt"] for line in seen)
    assert not [line for line in lines() if line["event"] == "a step failed for good"]


@pytest.mark.parametrize("act", ["take hat", "put back hat"])
async def test_the_last_failure_is_logged_with_its_way_through_the_code_of_the_user(tmp_path, lines, act):
    traveller = Traveller(Depot())
    traveller.depot.fail(act, lost())
    traveller.depot.fail("take map", lost())
    once = Retry(1, on=(Exception,))
    async with opened(tmp_path, traveller, settings=SagaSettings(step_retry=once, undo_retry=once)) as sagas:
        with pytest.raises(Exception, match=r"failed for good|is stuck"):
            await sagas.run(traveller.journey, ("hat", "map"), id="t1")
    last = [line for line in lines() if line["event"] == "a step failed for good"][-1]
    assert (last["level"], last["attempt"]) == ("error", 1)
    assert "saga_cast.py" in json.dumps(last)
    assert "_act" in json.dumps(last)


async def test_a_declared_error_is_an_answer_and_no_fault(tmp_path, lines):
    traveller = Traveller(Depot())
    traveller.depot.fail("take hat", NoneLeft("hat", 1))
    async with opened(tmp_path, traveller) as sagas:
        with pytest.raises(NoneLeft):
            await sagas.run(traveller.journey, ("hat",), id="t1")
    (line,) = lines()
    assert (line["level"], line["event"], line["step"]) == ("info", "a step was refused", "main/depot.take#1")


async def test_a_step_whose_time_in_all_is_up_fails_for_good_with_the_attempt_in_flight(tmp_path, lines):
    unlucky = Unlucky(Depot())
    unlucky.depot.hold("take hat")
    async with opened(tmp_path, unlucky) as sagas:
        with pytest.raises(StepFailedError, match=r"not done after 1\.000 s"):
            await sagas.run(unlucky.bounded, id="t1")
    assert [line["event"] for line in lines()] == ["a step failed for good"]

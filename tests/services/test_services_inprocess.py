"""Calls within one process, with and without encoding."""

import pytest
from contract_cases import ContractCases, Inventory, dispatcher

from archstone.errors import RemoteError
from archstone.services import Dispatcher, InProcess, client

__all__ = ["dispatcher"]


class TestEncoded(ContractCases):
    async def make_client(self, dispatcher: Dispatcher) -> Inventory:
        return client(Inventory, InProcess(dispatcher, encode=True))

    async def test_an_answer_of_the_wrong_type_is_a_remote_error(
        self, inventory: Inventory, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(RemoteError):
            await inventory.trouble("wrong type")
        assert "unexpectedly" in capsys.readouterr().err


class TestPlain(ContractCases):
    async def make_client(self, dispatcher: Dispatcher) -> Inventory:
        return client(Inventory, InProcess(dispatcher))

    @pytest.mark.skip(reason="values are handed over as they are: pyright checked them")
    async def test_arguments_that_break_the_contract_are_refused(self, inventory: Inventory) -> None: ...

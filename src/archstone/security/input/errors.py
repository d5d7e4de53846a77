"""What people send and is not taken."""

from typing import Literal, TypeAlias

from archstone.errors import BackendError, InvalidError

__all__ = ["InputError", "InputFault", "ScannerError"]

InputFault: TypeAlias = Literal["path", "email", "large", "kind", "broken", "bomb", "infected"]
"""
path: it leads out of its folder. email: no address that could receive mail. large: too many bytes. kind: none of the
kinds that are taken. broken: it cannot be read as what it is. bomb: small, and would become too much. infected: a
scanner knows it.
"""


class InputError(InvalidError, code="security.input", status=400):
    """Something that was sent is not taken. Nothing of it was kept."""

    def __init__(self, fault: InputFault, why: str) -> None:
        super().__init__(fault, why)
        self.fault: InputFault = fault
        self.why = why

    def __str__(self) -> str:
        return f"not taken ({self.fault}): {self.why}; send another"


class ScannerError(BackendError, code="security.scanner", status=503):
    """The scanner for malware gave no verdict, so the file was not taken."""

    def __init__(self, address: str, why: str) -> None:
        super().__init__(address, why)
        self.address = address
        self.why = why

    def __str__(self) -> str:
        return f"scanner {self.address}: {self.why}; the file was not taken: try again when the scanner answers"

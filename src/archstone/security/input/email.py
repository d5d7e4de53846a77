"""Addresses of e-mail, of all languages: written in one way, and such as could receive mail. By email-validator.

    address: EmailAddress                       # in a pydantic model
    normal_email("Ann@EXAMPLE.org")             # "Ann@example.org"

Promise: no name server is asked, so nobody waits for a stranger's. The domain is in lower case and Unicode (NFC); what
stands before the `@` keeps its case, as RFC 5321 has it. Whether anybody reads it, only a mail with a link tells.
"""

from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints

from archstone.security.input.errors import InputError

__all__ = ["EmailAddress", "normal_email"]

_LONGEST: Final = 254


def normal_email(text: str, *, international: bool = True) -> str:
    """Return an address as it is kept and compared.

    Args:
        text: What was typed.
        international: Take letters beyond ASCII before the `@`, too, for which every server on the way needs SMTPUTF8.

    Raises:
        InputError: It is none that could receive mail: no domain, a reserved one, a name with an address inside.
    """
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415 - of the extra `security`

    try:
        if len(text) > _LONGEST:
            raise InputError("email", f"{len(text)} characters, at most {_LONGEST}")
        found = validate_email(text, check_deliverability=False, allow_smtputf8=international, strict=True)
    except EmailNotValidError as error:
        raise InputError("email", str(error).rstrip(".")) from error
    return found.normalized


EmailAddress = Annotated[
    str,
    StringConstraints(min_length=3, max_length=_LONGEST),
    AfterValidator(normal_email),
    Field(json_schema_extra={"format": "idn-email"}),
]
"""An address as `normal_email` writes it, for pydantic models."""

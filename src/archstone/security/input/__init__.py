"""What people send, before anything believes it: HTML, addresses, names, files.

HtmlPolicy, text_only      HTML without what could run
EmailAddress, normal_email addresses of all languages
safe_join, safe_name       paths that stay inside, names that deceive nobody
Uploads, ClamAv            files by their content, bounded, scanned
made_anew                  pictures of which only pixels survive
check_zip, gunzipped       archives that are no bombs

Strict models do the rest: pydantic with `extra="forbid"`, lengths and ranges on every field. SQL takes values as
parameters alone; `python -m archstone.data.lint` finds where it does not.
"""

from archstone.security.input.archives import ArchiveBounds, check_zip, gunzipped
from archstone.security.input.email import EmailAddress, normal_email
from archstone.security.input.errors import InputError, InputFault, ScannerError
from archstone.security.input.html import HtmlPolicy, text_only
from archstone.security.input.images import ImageBounds, Picture, made_anew
from archstone.security.input.paths import safe_join, safe_name
from archstone.security.input.scanning import ClamAv
from archstone.security.input.uploads import Scanner, Taken, Uploads, kind_of

__all__ = [
    "ArchiveBounds",
    "ClamAv",
    "EmailAddress",
    "HtmlPolicy",
    "ImageBounds",
    "InputError",
    "InputFault",
    "Picture",
    "Scanner",
    "ScannerError",
    "Taken",
    "Uploads",
    "check_zip",
    "gunzipped",
    "kind_of",
    "made_anew",
    "normal_email",
    "safe_join",
    "safe_name",
    "text_only",
]

"""What stands inside an HTML page: data that ends no element, scripts that its policy allows."""

from __future__ import annotations

import base64
import hashlib
import json


def json_for_script(data: object) -> str:
    """JSON for a `script` element: no text in it can end the element."""
    return json.dumps(data).replace("<", "\\u003c")


def source_of(content: str) -> str:
    """The source by which a content security policy allows this very script or style."""
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"

"""Multipart bodies read as a server reads them: by the standard library's parser, not by the one under test."""

import email.parser
import email.policy
from collections.abc import Iterator


def parts(content_type: str, body: bytes) -> Iterator[tuple[str, str | None, bytes]]:
    """Field name, file name and content of each part."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    for part in message.iter_parts():
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes), "no multipart within multipart"
        yield str(part.get_param("name", header="Content-Disposition")), part.get_filename(), content

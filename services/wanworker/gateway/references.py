"""Reference images: fetched from an https URL without being led astray, and looked at before anyone relies on
them.

A URL is the caller's, and the gateway stands inside the network: the host is resolved once, every address of
it must be public, and the connection goes to exactly the address that was checked, at every redirect anew (no
second look-up, so no DNS rebinding). Bytes, time, redirects and pixels are limited.
"""

import asyncio
import io
import ipaddress
import socket
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urljoin, urlsplit

import httpx
from PIL import Image

from wanworker.runtime.errors import ServiceError

FORMATS = ("PNG", "JPEG", "WEBP")
"""What the generator reads."""

MAX_REDIRECTS = 3
"""Enough for a short link that leads to a storage service."""

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""Host and port to addresses."""


@dataclass(eq=False)
class BadReferenceError(ServiceError):
    """The reference image cannot be used."""

    code: ClassVar[str] = "INVALID_ARGUMENT"
    reason: str = "BAD_REFERENCE_IMAGE"


async def system_resolver(host: str, port: int) -> list[str]:
    """The addresses that the system knows for a host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class ReferenceFetcher:
    """Fetches images by URL."""

    def __init__(
        self,
        max_bytes: int,
        timeout_seconds: float,
        resolver: Resolver = system_resolver,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._timeout = timeout_seconds
        self._resolver = resolver
        self._transport = transport

    async def fetch(self, url: str) -> bytes:
        """The bytes behind a URL. BadReferenceError if they cannot or must not be had."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._follow(url)
        except TimeoutError as error:
            raise BadReferenceError(f"the image did not come within {self._timeout:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise BadReferenceError(f"the image could not be fetched: {type(error).__name__}") from error

    async def _follow(self, url: str) -> bytes:
        # trust_env: a proxy would resolve the name again, out of our sight.
        async with httpx.AsyncClient(
            transport=self._transport, trust_env=False, follow_redirects=False, timeout=self._timeout
        ) as client:
            for _ in range(MAX_REDIRECTS + 1):
                answer, location = await self._get(client, url)
                if location is None:
                    return answer
                url = urljoin(url, location)
        raise BadReferenceError(f"more than {MAX_REDIRECTS} redirects")

    async def _get(self, client: httpx.AsyncClient, url: str) -> tuple[bytes, str | None]:
        host, port, address = await self._checked(url)
        pinned = httpx.URL(url).copy_with(host=address)
        headers = {
            "Host": host if port == 443 else f"{host}:{port}",
            "Accept": "image/png,image/jpeg,image/webp",
            # Images are compressed as they are; a body that swells when it is unpacked would break the limit.
            "Accept-Encoding": "identity",
        }
        # The certificate is still that of the host's name.
        request = client.build_request("GET", pinned, headers=headers, extensions={"sni_hostname": host})
        response = await client.send(request, stream=True)
        try:
            if response.is_redirect:
                return b"", response.headers.get("location", "")
            if response.status_code != httpx.codes.OK:
                raise BadReferenceError(f"the image's server answered {response.status_code}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise BadReferenceError("the image's server packed it, though it was asked not to")
            return await self._body(response), None
        finally:
            await response.aclose()

    async def _body(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > self._max_bytes:
                raise BadReferenceError(f"the image is longer than {self._max_bytes} bytes")
        return bytes(body)

    async def _checked(self, url: str) -> tuple[str, int, str]:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or parts.username or parts.password:
            raise BadReferenceError("the image's address must be an https URL without credentials")
        try:
            port = parts.port or 443
            addresses = await self._resolver(parts.hostname, port)
        except (ValueError, OSError) as error:
            raise BadReferenceError(f"the image's host '{parts.hostname}' is not known") from error
        if not addresses or not all(is_public(address) for address in addresses):
            raise BadReferenceError(f"the image's host '{parts.hostname}' is not a public one")
        return parts.hostname, port, addresses[0]


_TRANSLATED = tuple(ipaddress.IPv6Network(net) for net in ("::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96"))
"""IPv4-compatible, local NAT64 and IPv4-translated addresses: each may lead to any IPv4 address."""


def is_public(address: str) -> bool:
    """Whether an address is one of the internet's: not private, loopback, link-local, metadata, or a disguise
    of such."""
    parsed = ipaddress.ip_address(address.split("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo[1] if parsed.teredo else None)
        if inner is not None:
            return is_public(str(inner))
        if parsed in ipaddress.ip_network("64:ff9b::/96"):
            return is_public(str(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)))
        if parsed.is_site_local or any(parsed in network for network in _TRANSLATED):
            return False
    return parsed.is_global and not parsed.is_multicast


def check_image(data: bytes, max_pixels: int) -> None:
    """Whether the bytes are a whole PNG, JPEG or WebP of sane size. Decodes it: run in a thread."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                pixels = image.width * image.height
                if pixels > max_pixels:
                    raise BadReferenceError(f"the image has {pixels} pixels, more than {max_pixels}")
                image.load()
    except BadReferenceError:
        raise
    except Exception as error:
        # Pillow's decoders raise a dozen kinds on damaged data (SyntaxError among them); all mean the same
        # here.
        raise BadReferenceError("the image is not a whole PNG, JPEG or WebP") from error

"""The demo of `stoa demo`: a small real upstream and a catalogue of tools for it.

The upstream knows nothing of the gateway. The catalogue's endpoints start with UPSTREAM_PLACEHOLDER, a name that never
resolves (RFC 6761); `write_catalogue` puts the address of the running upstream in its place.
"""

from stoa.interfaces.demo.catalogue_files import UPSTREAM_PLACEHOLDER, write_catalogue
from stoa.interfaces.demo.upstream import BILLING_API_KEY, build_upstream

__all__ = ["BILLING_API_KEY", "UPSTREAM_PLACEHOLDER", "build_upstream", "write_catalogue"]

"""The options of commands that take an API description instead of manifests.

`stoa stdio` greets its client before anything of weight is imported, so nothing is imported here but cyclopts.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter


def _is_no_option(_: Any, value: str | None) -> None:
    if value is not None and value.startswith("-") and value != "-":
        raise ValueError("there is no such option")


_SPEC = Parameter(allow_leading_hyphen=True, validator=_is_no_option)
Spec = Annotated[str, _SPEC]
"""A file, a URL, the address of a live server, or `-` for standard input."""
OptionalSpec = Annotated[str | None, _SPEC]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class SpecOptions:
    """How the API of a description is called.

    Parameters
    ----------
    base_url
        URL that the operations of SPEC are called at, where SPEC does not say it or another is meant.
    header_from_env
        HEADER=VARIABLE: the environment variable that holds the header by which the API knows the gateway; VARIABLE
        alone holds a bearer token. May be given several times.
    scheme_from_env
        SCHEME=VARIABLE: the environment variable that holds the key of a security scheme of the OpenAPI description,
        which says where the key goes; USER:PASSWORD for the scheme basic. May be given several times.
    """

    base_url: Annotated[str | None, Parameter(name=("--base-url", "--endpoint"))] = None
    header_from_env: tuple[str, ...] = ()
    scheme_from_env: tuple[str, ...] = ()


NONE_GIVEN = SpecOptions()

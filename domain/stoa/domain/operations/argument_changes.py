"""Changes that an author made to the arguments of a tool: names, defaults, and values that callers neither see nor
set."""

from typing import Any, Literal

from pydantic import Field

from stoa.domain.access.identity import Principal
from stoa.domain.operations.binding import SecretReference
from stoa.domain.value import Strict

PrincipalFact = Literal["subject", "tenant", "client", "issuer"]
"""The part of a principal that an argument is filled with."""


class FixedValue(Strict):
    """A constant, as JSON."""

    value: Any

    def shown(self, principal: Principal) -> Any:  # noqa: ARG002  # the same for every caller
        """The value as policies and explanations see it."""
        return self.value


class FixedByPrincipal(Strict):
    """A fact of the caller, which no caller can choose."""

    fact: PrincipalFact

    def shown(self, principal: Principal) -> Any:
        """None for a caller without this fact."""
        return getattr(principal, self.fact)


class FixedBySecret(Strict):
    """A secret of the tool's owner, read at each call."""

    secret: SecretReference

    def shown(self, principal: Principal) -> Any:  # noqa: ARG002  # the same for every caller
        """The name of the secret, never its value."""
        return f"secret:{self.secret.name}"


Fixed = FixedValue | FixedByPrincipal | FixedBySecret


class ArgumentChanges(Strict):
    """Changes between the arguments that a tool shows and those that its back end gets."""

    names: dict[str, str] = Field(default={})
    """Names of the back end, by the names that are shown instead."""
    defaults: dict[str, Any] = Field(default={})
    """Values of arguments that a caller left out, by shown name."""
    fixed: dict[str, Fixed] = Field(default={})
    """Values by name of the back end. Callers neither see nor set them."""
    hidden: tuple[str, ...] = ()
    """Names of the back end that are never sent, also where a tool takes arguments that its schema does not name."""

    def completed(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The shown arguments with the defaults of those that are absent."""
        return {**self.defaults, **arguments} if self.defaults else arguments

    def shown(self, arguments: dict[str, Any], principal: Principal) -> dict[str, Any]:
        """The arguments as a policy sees them: under the shown names, with the fixed ones, which win."""
        fixed = {name: value.shown(principal) for name, value in self.fixed.items()}
        return {**self.completed(arguments), **fixed}

    def renamed(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The completed arguments under the names of the back end. A caller that writes such a name itself does not
        reach it."""
        taken = {*self.names.values(), *self.fixed, *self.hidden}
        return {
            self.names.get(name, name): value
            for name, value in self.completed(arguments).items()
            if name in self.names or name not in taken
        }

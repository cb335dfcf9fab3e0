"""Shows what became of an API description: to those who may know how its tools are made."""

from stoa.application.admission.callers import Callers
from stoa.application.catalogue.catalogue_loader import CatalogueLoader
from stoa.application.ports.conversion_report import ConversionReport
from stoa.domain.access.identity import TenantId
from stoa.domain.calls.invocation import Credential
from stoa.domain.errors import ResourceNotFound


class ShowConversion:
    def __init__(self, callers: Callers, loader: CatalogueLoader) -> None:
        self._callers = callers
        self._loader = loader

    async def execute(self, credential: Credential, tenant: TenantId | None, api: str) -> ConversionReport:
        """The conversion report of the ToolSet of this name in the tenant's view. Raises ResourceNotFound also where
        the caller may not know it; NotAuthenticated, QuotaExceeded or IdentityUnavailable."""
        caller = await self._callers.authenticate(credential)
        await self._callers.limit(caller)
        principal = caller.acting_for(tenant)
        for owner in () if principal is None else dict.fromkeys((principal.tenant, None)):
            report = self._loader.conversion_of(api, owner)
            if report is not None and caller.administers(owner):
                return report
        raise ResourceNotFound(f"stoa://apis/{api}")

"""Conversion reports and held changes of API descriptions, for callers who may know how tools are made."""

from stoa.application.admission.callers import Callers
from stoa.application.catalogue.catalogue_loader import CatalogueLoader
from stoa.application.catalogue.loaded_manifest import LoadedManifest
from stoa.application.ports.conversion_report import ConversionReport
from stoa.domain.access.identity import TenantId
from stoa.domain.calls.invocation import Credential
from stoa.domain.errors import ResourceNotFound


class ApiDescriptions:
    """Platform admins see all, tenant admins those of their tenant; to others an API that they may not know is absent.
    Every method raises ResourceNotFound, NotAuthenticated, QuotaExceeded or IdentityUnavailable."""

    def __init__(self, callers: Callers, loader: CatalogueLoader) -> None:
        self._callers = callers
        self._loader = loader

    async def report(self, credential: Credential, tenant: TenantId | None, api: str) -> ConversionReport:
        """The conversion report of the ToolSet of this name in the tenant's view."""
        conversion = (await self.tool_set(credential, tenant, api)).conversion
        if conversion is None:
            raise _absent(api)
        return conversion

    async def tool_set(self, credential: Credential, tenant: TenantId | None, api: str) -> LoadedManifest:
        """The ToolSet, with the changes of its description and those that wait."""
        caller = await self._callers.authenticate(credential)
        await self._callers.limit(caller)
        principal = caller.acting_for(tenant)
        for owner in () if principal is None else dict.fromkeys((principal.tenant, None)):
            loaded = self._loader.tool_set(api, owner)
            if loaded is not None and caller.administers(owner):
                return loaded
        raise _absent(api)

    async def approve(self, credential: Credential, tenant: TenantId | None, api: str, digest: str) -> LoadedManifest:
        """Use the version of the description that is held back; returns the ToolSet after that. Raises InvalidInput if
        none with this digest waits."""
        loaded = await self.tool_set(credential, tenant, api)
        await self._loader.approve(loaded, digest)
        conversion = loaded.conversion
        owner = None if conversion is None else conversion.tenant
        return self._loader.tool_set(api, owner) or loaded


def _absent(api: str) -> ResourceNotFound:
    return ResourceNotFound(f"stoa://apis/{api}")

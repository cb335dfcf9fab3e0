"""Remembers what each load of the catalogue gave."""

from stoa.application.ports.catalogue_observer import CatalogueLoad, CatalogueObserver


class InMemoryCatalogueObserver(CatalogueObserver):
    """`loads`: the oldest first."""

    def __init__(self) -> None:
        self.loads: list[CatalogueLoad] = []

    async def loaded(self, load: CatalogueLoad) -> None:
        self.loads.append(load)

"""The APIs behind the tools of team-alpha (customers, invoices) and team-beta (stock, notifications)."""

from itertools import count
from typing import Annotated, Literal

from pydantic import Field
from quart import Blueprint, Response, abort

from stoa.interfaces.demo.answers import Json, json_answer, read_body, read_query

Segment = Literal["enterprise", "mid-market", "startup"]


class Customer(Json):
    id: str
    name: str
    company: str
    email: str
    country: str
    segment: Segment


class CustomerPage(Json):
    customers: list[Customer]
    total: int
    """Number of matches, whether shown or not."""


class CustomerQuery(Json):
    q: str = ""
    limit: Annotated[int, Field(ge=1, le=50)] = 10


class NewInvoice(Json):
    customer_id: str
    amount: Annotated[float, Field(gt=0, le=1_000_000)]
    currency: Literal["EUR", "USD", "GBP", "CHF"]


class Invoice(NewInvoice):
    id: str
    customer_name: str
    status: Literal["issued"] = "issued"
    due_in_days: int = 30


class StockItem(Json):
    sku: str
    name: str
    available: int
    reserved: int
    warehouse: str
    reorder_level: int


class NewNotification(Json):
    channel: Literal["email", "sms", "slack"]
    recipient: Annotated[str, Field(min_length=1, max_length=200)]
    message: Annotated[str, Field(min_length=1, max_length=2000)]


class QueuedNotification(Json):
    id: str
    channel: str
    recipient: str
    status: Literal["queued"] = "queued"


_CUSTOMER_ROWS: tuple[tuple[str, str, str, str, str, Segment], ...] = (
    ("CUS-1001", "Amélie Laurent", "Boulangerie Laurent", "amelie@laurent.example", "FR", "startup"),
    ("CUS-1002", "Jonas Weber", "Weber Maschinenbau GmbH", "j.weber@weber-mb.example", "DE", "mid-market"),
    ("CUS-1003", "Priya Raman", "Northwind Logistics", "priya.raman@northwind.example", "GB", "enterprise"),
    ("CUS-1004", "Diego Fernández", "Solar Andaluz", "diego@solarandaluz.example", "ES", "mid-market"),
    ("CUS-1005", "Kofi Mensah", "Accra Data Works", "kofi@accradata.example", "GH", "startup"),
    ("CUS-1006", "Ingrid Solberg", "Nordlys Energi AS", "ingrid.solberg@nordlys.example", "NO", "enterprise"),
    ("CUS-1007", "Laura Weber", "Atelier Weber", "laura@atelier-weber.example", "CH", "startup"),
    ("CUS-1008", "Tomasz Nowak", "Baltic Freight", "t.nowak@balticfreight.example", "PL", "mid-market"),
)
_CUSTOMERS = tuple(
    Customer(id=id_, name=name, company=company, email=email, country=country, segment=segment)
    for id_, name, company, email, country, segment in _CUSTOMER_ROWS
)

_STOCK_ROWS = (
    ("KB-87-DE", "Mechanical keyboard, 87 keys, German", 142, 18, "Lyon", 40),
    ("MS-ERGO-L", "Ergonomic mouse, left-handed", 7, 2, "Lyon", 15),
    ("MON-27-4K", "27 inch 4K monitor", 53, 21, "Rotterdam", 25),
    ("DOCK-TB4", "Thunderbolt 4 docking station", 0, 0, "Rotterdam", 10),
    ("CAB-USBC-2M", "USB-C cable, 2 m", 1260, 75, "Lyon", 300),
)
_STOCK = {
    sku: StockItem(
        sku=sku, name=name, available=available, reserved=reserved, warehouse=warehouse, reorder_level=reorder_level
    )
    for sku, name, available, reserved, warehouse, reorder_level in _STOCK_ROWS
}


class Crm:
    """GET /crm/customers"""

    def routes(self) -> Blueprint:
        blueprint = Blueprint("crm", __name__)
        blueprint.add_url_rule("/crm/customers", view_func=self.search, methods=["GET"])
        return blueprint

    def find(self, customer_id: str) -> Customer | None:
        return next((customer for customer in _CUSTOMERS if customer.id == customer_id), None)

    async def search(self) -> Response:
        query = read_query(CustomerQuery)
        words = query.q.casefold().split()
        customers = [customer for customer in _CUSTOMERS if all(word in _searchable(customer) for word in words)]
        return json_answer(CustomerPage(customers=customers[: query.limit], total=len(customers)))


class Billing:
    """POST /billing/invoices"""

    def __init__(self, crm: Crm) -> None:
        self._crm = crm
        self._numbers = count(1)

    def routes(self) -> Blueprint:
        blueprint = Blueprint("billing", __name__)
        blueprint.add_url_rule("/billing/invoices", view_func=self.issue, methods=["POST"])
        return blueprint

    async def issue(self) -> Response:
        new = await read_body(NewInvoice)
        customer = self._crm.find(new.customer_id)
        if customer is None:
            abort(422, description=f"No customer has the id {new.customer_id}")
        invoice = Invoice(
            id=f"INV-{next(self._numbers):05}",
            customer_id=customer.id,
            customer_name=customer.name,
            amount=new.amount,
            currency=new.currency,
        )
        return json_answer(invoice, 201)


class Inventory:
    """GET /inventory/{sku}"""

    def routes(self) -> Blueprint:
        blueprint = Blueprint("inventory", __name__)
        blueprint.add_url_rule("/inventory/<sku>", view_func=self.look_up, methods=["GET"])
        return blueprint

    async def look_up(self, sku: str) -> Response:
        item = _STOCK.get(sku)
        if item is None:
            abort(404, description=f"No article has the SKU {sku}")
        return json_answer(item)


class Notifications:
    """POST /notifications"""

    def __init__(self) -> None:
        self._numbers = count(1)

    def routes(self) -> Blueprint:
        blueprint = Blueprint("notifications", __name__)
        blueprint.add_url_rule("/notifications", view_func=self.queue, methods=["POST"])
        return blueprint

    async def queue(self) -> Response:
        new = await read_body(NewNotification)
        queued = QueuedNotification(id=f"NTF-{next(self._numbers):05}", channel=new.channel, recipient=new.recipient)
        return json_answer(queued, 202)


def _searchable(customer: Customer) -> str:
    return " ".join((customer.id, customer.name, customer.company, customer.email, customer.country)).casefold()

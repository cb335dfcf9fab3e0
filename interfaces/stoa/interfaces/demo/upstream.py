"""The demo's upstream as one app: the APIs of two teams at the root a pet store below /petstore,
and its reviews below /reviews.

Every app starts with the same data and forgets its changes when it ends.
"""

import hmac

from quart import Quart, abort, request
from werkzeug.exceptions import HTTPException

from stoa.interfaces.demo.answers import problem_answer
from stoa.interfaces.demo.petstore import PetStore
from stoa.interfaces.demo.reviews import Reviews
from stoa.interfaces.demo.teams import Billing, Crm, Inventory, Notifications

BILLING_API_KEY = "demo-billing-key"
"""Default API key of the billing API; it guards made-up data on a loopback port."""


def build_upstream(billing_api_key: str = BILLING_API_KEY) -> Quart:
    """An ASGI app. Billing answers 401 unless `X-API-Key` is `billing_api_key`."""
    app = Quart(__name__, static_folder=None)
    app.register_error_handler(HTTPException, problem_answer)

    async def check_key() -> None:
        shown = request.headers.get("X-API-Key", "")
        if not hmac.compare_digest(shown.encode(), billing_api_key.encode()):
            abort(401, description="Billing needs its API key in the header X-API-Key")

    crm = Crm()
    billing = Billing(crm).routes()
    billing.before_request(check_key)
    for routes in (crm.routes(), billing, Inventory().routes(), Notifications().routes()):
        app.register_blueprint(routes)
    app.register_blueprint(PetStore().routes(), url_prefix="/petstore")
    app.register_blueprint(Reviews().routes(), url_prefix="/reviews")
    return app

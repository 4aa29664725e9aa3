"""The management API under /api/v1, and conversions beside the hot endpoints: /v1/conversions."""

from __future__ import annotations

from django.http import HttpRequest
from django.urls import path
from ninja import NinjaAPI

from adplatform.accounts.models import Organisation
from adplatform.api import campaigns, conversions, decisions, inventory, problems, reports, rights
from adplatform.api.auth import Key, organisation_of
from adplatform.api.schemas.base import OrganisationOut

DESCRIPTION = """Amounts are integer micros (1e-6) of the organisation's currency, times are ISO 8601 with a zone.
Send `Authorization: Bearer adp_….…`; keys are made in the portal and carry scopes: read, write, conversions, explain.
Errors are problem JSON with a stable `code`. Lists take `limit` and `offset`."""

api = NinjaAPI(title="AdPlatform", version="1", description=DESCRIPTION, urls_namespace="api", docs_url=None)
received = NinjaAPI(urls_namespace="received", docs_url=None, openapi_url=None)
for one in (api, received):
    problems.install(one)


@api.get("/organisation", response=OrganisationOut, auth=Key("read"), tags=["organisation"])
def organisation(request: HttpRequest) -> Organisation:
    """Whose key this is."""
    return organisation_of(request)


api.add_router("", campaigns.router)
api.add_router("", inventory.router)
api.add_router("", rights.router)
api.add_router("", reports.router)
api.add_router("", decisions.router)
api.add_router("", conversions.router())
api.get("/signing-secret", auth=Key(conversions.SCOPE), tags=["conversions"], response=dict[str, str])(
    conversions.secret
)
received.add_router("", conversions.router())

urlpatterns = [path("api/v1/", api.urls), path("v1/", received.urls)]

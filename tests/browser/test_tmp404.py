import pytest
from tests.browser.operations import operations
from django.urls import reverse
from tests.browser.conftest import *
pytestmark=[pytest.mark.browser]
def test_x(context, sign_in, live_server):
    m = operations()
    sign_in(m.user)
    p = context.new_page()
    p.on("response", lambda r: print(r.status, r.url) if r.status>=300 else None)
    p.goto("/publisher/")
    p.wait_for_timeout(3000)

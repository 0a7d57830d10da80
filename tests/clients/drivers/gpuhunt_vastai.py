"""gpuhunt's Vast.ai provider. It has no setting for the address."""

import sys

from calls import serve
from gpuhunt import QueryFilter
from gpuhunt.providers import vastai

vastai.bundles_url = f"{sys.argv[1]}/api/v0/bundles/"


class Client:
    def get(self, wanted, extra_filters=None, **options):
        return vastai.VastAIProvider(extra_filters, **options).get(QueryFilter(**wanted))


serve(Client())

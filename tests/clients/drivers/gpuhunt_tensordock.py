"""gpuhunt's TensorDock provider. It has no setting for the address."""

import sys

from calls import serve
from gpuhunt import QueryFilter
from gpuhunt.providers import tensordock

tensordock.marketplace_hostnodes_url = f"{sys.argv[1]}/api/v0/client/deploy/hostnodes"


class Client:
    def get(self, wanted=None):
        return tensordock.TensorDockProvider().get(None if wanted is None else QueryFilter(**wanted))


serve(Client())

"""The `tensordock` package. The address can only be set on the finished object."""

import sys

from calls import serve
from tensordock import TensorDockAPI

url, key, token = sys.argv[1:]
api = TensorDockAPI(key, token)
api.base_url = f"{url}/api/v0"
serve(api)

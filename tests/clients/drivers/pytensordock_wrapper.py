"""The `pytensordock` package. The address can only be set on the finished object, and must end in a slash."""

import sys

from calls import serve
from pytensordock import TensorDockWrapper

url, key, token = sys.argv[1:]
wrapper = TensorDockWrapper(key, token)
wrapper.base_url = f"{url}/api/v0/"
serve(wrapper)

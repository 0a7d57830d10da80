"""Reads a market with gpuhunt, and prints what that took as one JSON object. usage: gpuhunt_market.py (ORIGIN | FILE)

From a file, the answer is in memory already when the time begins.
"""

import json
import sys
import time
from pathlib import Path

import requests
from gpuhunt.providers import vastai

source = sys.argv[1]
vastai.bundles_url = f"{source}/api/v0/bundles/"
if not source.startswith("http"):
    answer = requests.Response()
    answer.status_code = 200
    answer._content = Path(source).read_bytes()
    vastai.requests.post = lambda *_args, **_kwargs: answer
began = time.process_time()
offers = vastai.VastAIProvider().get()
seconds = time.process_time() - began
print(json.dumps({"offers": len(offers), "cpu_seconds": seconds}))

"""Reads a market with the official SDK, and prints what that took as one JSON object. usage: vastai_market.py ORIGIN"""

import json
import resource
import sys
import time

from vastai import VastAI

sdk = VastAI(api_key="a-key", server_url=sys.argv[1])
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.process_time()
offers = sdk.search_offers(limit=70000)
seconds = time.process_time() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"offers": len(offers), "cpu_seconds": seconds, "peak_bytes": (peak - base) * 1024}))

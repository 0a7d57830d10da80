"""Reads a market with the official SDK, and prints what that took as one JSON object. usage: vastai_market.py ORIGIN"""

import json
import sys
import time

from vastai import VastAI

sdk = VastAI(api_key="a-key", server_url=sys.argv[1])
began = time.process_time()
offers = sdk.search_offers(limit=70000)
seconds = time.process_time() - began
print(json.dumps({"offers": len(offers), "cpu_seconds": seconds}))

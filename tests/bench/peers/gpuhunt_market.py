"""Reads a market with gpuhunt, and prints what that took as one JSON object. usage: gpuhunt_market.py ORIGIN"""

import json
import resource
import sys
import time

from gpuhunt.providers import vastai

vastai.bundles_url = f"{sys.argv[1]}/api/v0/bundles/"
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.process_time()
offers = vastai.VastAIProvider().get()
seconds = time.process_time() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"offers": len(offers), "cpu_seconds": seconds, "peak_bytes": (peak - base) * 1024}))

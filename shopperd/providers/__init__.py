"""How shopperd speaks to marketplaces: the contract, the way out (transport, limiter), and one folder an adapter.

What belongs here: what an API says and what it means. What does not: any decision about an instance or a session.
"""

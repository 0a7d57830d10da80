"""The periodic work of every account. Each job observes, lets a pure function decide, acts, and records.

What belongs here: the order of calls, transactions and events. What does not: decisions (`reconcile`, `lifecycle`), words of
a provider (`providers`), tables (`store`).
"""

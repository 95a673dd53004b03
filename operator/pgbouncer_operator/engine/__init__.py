"""The machinery of a controller: queue, cache, rate limits, leader election, workers. No kopf, no Kubernetes.

Everything here belongs to one event loop and reads the time from that loop (`loop.time()`), so that a test can run it
on a loop with a virtual clock. Another thread calls it through `loop.call_soon_threadsafe`.
"""

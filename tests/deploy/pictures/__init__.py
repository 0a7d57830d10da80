"""Pictures of the dashboards and of the status page, from a demo that runs, by `make screenshots`.

Dashboards are drawn with Grafana's own components in a headless Chromium, from the dashboards' files and what a Prometheus
with shopperd's rules has for their queries. Nothing on the pictures is made up.
"""

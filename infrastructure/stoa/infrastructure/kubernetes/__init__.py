"""The catalogue in Kubernetes. Needs the extra `k8s`.

`api` speaks to the API server, `manifests` follows the objects that are manifests and what they name, `status` writes
what became of them, and `crds` has the definitions of their kinds.
"""

"""Kubernetes: the definitions of the custom resources that hold manifests."""

"""Compares Causeway with other gateways; see bench/README.md. Python 3.11, standard library only."""

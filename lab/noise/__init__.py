"""How fit this machine is to measure: probes and readings in, points, claims and advice out."""

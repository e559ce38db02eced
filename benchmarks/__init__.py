"""How fast it is, beside others, as ratios of runs that took turns: ``python3 dev.py bench [NAME ...]``."""

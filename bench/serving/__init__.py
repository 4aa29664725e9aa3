"""What a decision costs, stage by stage, and what the same machine could do at best: `python -m bench.serving`."""

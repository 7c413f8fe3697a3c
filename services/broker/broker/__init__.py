"""The job broker: the queue and the truth about every job. It never runs a job and never calls a node."""

__version__ = "0.1.0"

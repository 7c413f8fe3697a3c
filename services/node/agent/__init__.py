"""The agent: claims jobs from a broker, runs them through the node's sandrun, returns the results."""

__version__ = "0.1.0"

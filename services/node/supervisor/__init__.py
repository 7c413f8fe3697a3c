"""Starts sandrun and the agent in one container; one dying ends the container."""

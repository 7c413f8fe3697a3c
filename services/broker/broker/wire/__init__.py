"""The bodies of the HTTP API as pydantic models: what is accepted, and what the OpenAPI document says."""

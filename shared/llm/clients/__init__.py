"""Clients of model APIs. The only place that knows the `openai` package."""

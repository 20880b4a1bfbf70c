"""Credentials: API keys of the gateway's tenants; macaroons, whose holder may do what their caveats still allow."""

"""Plans that are bought over Lightning: one invoice, one payment, one tier for thirty days."""

"""The catalogue: passports, what nodes say of themselves, which of them may run a model under a policy."""

"""The fault suite: a ledger and a checker that do not trust Lavoro, nemeses, and mutants that must be caught."""

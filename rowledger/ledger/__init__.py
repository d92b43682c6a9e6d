"""The ledger, the only truth: states, counts and reports; reading and writing them."""

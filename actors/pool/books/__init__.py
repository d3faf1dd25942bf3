"""What was answered and what it cost: cache, single-flight and ledger of a storage root."""

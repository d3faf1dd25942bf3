"""Statistics that every study shares: intervals clustered by prompt, paired differences."""

"""Datums, losses, the SFT loop and its Ray Train shell."""

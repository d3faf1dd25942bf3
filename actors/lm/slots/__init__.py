"""Adapter slots: one base model with the LoRA weights of many adapters in it at once."""

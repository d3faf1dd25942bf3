"""The verbs of training in plain torch: one process, or one of many. Knows no Ray."""

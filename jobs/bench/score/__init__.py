"""The bench of scoring: the questions of advanced-ai-risk, by lm-eval's own model and by ours.

Both answer the same requests, texts in and log-likelihoods out, on one thread of one process. The
CPU seconds are that process's; reading the files and loading the model are not among them.
"""

"""How large a request may be."""

LARGE_SHARE = 0.05  # of the training records; above it moves retain records noticeably
MAX_SHARE = 0.20
MIN_RETAIN = 60  # records

"""Choice of a backend, plans of its calls, workspace that fits into memory."""

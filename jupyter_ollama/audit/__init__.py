"""The audit log: who used which model and who changed what, a JSON line each."""

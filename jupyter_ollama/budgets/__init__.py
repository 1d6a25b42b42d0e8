"""Budgets of tokens: what users, groups and models have spent in a minute, day, month and term."""

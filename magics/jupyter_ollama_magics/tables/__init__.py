"""Methods of ``.ollama`` over whole tables: aggregates, joins, ranks, groups and maps."""

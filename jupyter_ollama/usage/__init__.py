"""The usage of models by users, without any texts."""

"""Builds of ggml's backends for GPUs, made for the llama-cpp-python that is installed."""

"""Notebooks and files of the Jupyter server as tools of Jupyter's MCP server."""

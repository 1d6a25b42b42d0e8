"""The tools of MCP servers that the settings name, for the agent in the notebook and %%chat."""

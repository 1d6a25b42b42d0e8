"""What a model gets to see of the kernel: variables, cells, files and the last error.

Nothing here runs code of the user: values are read only if their exact type is known, and of all
others only the names of the type and of its attributes.
"""

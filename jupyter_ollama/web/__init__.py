"""Pages and searches of the web for models that ask for them, with a guard before private hosts."""

"""Libraries of architectures: one module, or package of modules, for each."""

"""What the functions of a kernel work with: one module each for lowering, torch, C and TFLite."""

"""Generated C compiled, linked and run on an emulated core; TensorFlow Lite Micro."""

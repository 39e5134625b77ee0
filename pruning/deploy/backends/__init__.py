"""An integer network as text or a file: C99, TensorFlow Lite."""

"""Where studies are kept: databases, blobs, files."""

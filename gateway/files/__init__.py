"""What administrators write, read so that each mistake is told with its place in the file."""

"""What the book needs beside its pages: a Sphinx extension and the static files that it ships."""

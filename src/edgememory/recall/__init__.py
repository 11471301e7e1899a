"""Finding what was said: by words, and by meaning where there is an embedder."""

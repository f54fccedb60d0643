"""Models and tokenizers: fetched, loaded, asked in the form they know, exported."""

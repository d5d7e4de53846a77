"""One file per broker. The bus finds them by URL and never imports them."""

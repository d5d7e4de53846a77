"""One file per database. `catalog.index` finds them by the dialect and nobody else imports them."""

"""Pictures that products have elsewhere, shown by the shop itself: fetched with care, made small, kept on disk.

web/            pages name `/images/SKU/NUMBER-MARK-WIDTH` (`paths.py`)
mount.py        answers that path: the small picture, or the drawing of the product
proxy.py        one fetch for all who wait, bounds, what failed is remembered
fetching.py     by `archstone.security.Outgoing`: at most three redirects, public addresses only
shrinking.py    Pillow, in a thread
store.py        files in the data folder that may be lost and never be wrong
"""

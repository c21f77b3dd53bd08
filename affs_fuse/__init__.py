"""AfFS: a filesystem whose data is committed, published and rolled back."""

__version__ = "0.1.0"

"""Found by `autodiscover`."""

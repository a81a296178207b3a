"""Tests of canvases through a real worker."""

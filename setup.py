"""The one thing pyproject.toml cannot say: which script builds the C core."""

from setuptools import setup

setup(cffi_modules=["native/build_core.py:ffibuilder"])

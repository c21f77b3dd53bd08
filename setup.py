"""What pyproject.toml cannot say: which scripts build the C modules."""

from setuptools import setup

setup(
    cffi_modules=["native/build_core.py:ffibuilder", "native/build_requests.py:ffibuilder"]
)
